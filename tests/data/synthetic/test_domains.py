from __future__ import annotations

import cv2
import numpy as np
import pytest

from emojax.data.synthetic.domains import DOMAINS, PICTURE_SIDE, make_scene, render
from emojax.data.synthetic.expressions import sample_emotion, sample_free
from emojax.data.synthetic.people import make_person
from emojax.face import HaarDetector, detect_faces
from emojax.labels import SEVEN

FACES = 60


def draw(domain: str, index: int) -> np.ndarray:
    rng = np.random.default_rng([100, index])
    turn = index % (len(SEVEN) + 2)
    expression = sample_emotion(rng, SEVEN[turn]) if turn < len(SEVEN) else sample_free(rng)
    return render(make_person(100, index), expression.intensities, make_scene(rng, domain), rng)


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_haar_cascade_finds_the_faces_of_every_domain_where_they_are(domain: str) -> None:
    detector = HaarDetector()
    found = 0
    for index in range(FACES):
        faces = detect_faces(cv2.cvtColor(draw(domain, index), cv2.COLOR_BGR2GRAY), detector)
        # A box elsewhere than around the middle is no face of ours.
        found += any(
            abs(face.x + face.w / 2 - PICTURE_SIDE / 2) < 30
            and abs(face.y + face.h / 2 - PICTURE_SIDE / 2) < 30
            and face.w > 70
            for face in faces
        )
    assert found >= 0.95 * FACES


def test_near_infrared_has_no_colour_and_more_noise_than_the_studio() -> None:
    studio, infrared = draw("S1", 0), draw("S4", 0)
    assert (infrared == infrared[..., :1]).all()
    assert not (studio == studio[..., :1]).all()

    def grain(picture: np.ndarray) -> float:
        gray = picture[..., 1].astype(np.float32)
        return float(np.median(np.abs(gray - cv2.medianBlur(gray, 3))))

    assert grain(infrared) > 3 * grain(studio)


def test_hard_light_has_more_contrast_between_the_cheeks() -> None:
    def contrast(domain: str) -> float:
        values = []
        for index in range(12):
            gray = cv2.cvtColor(draw(domain, index), cv2.COLOR_BGR2GRAY).astype(float)
            left, right = gray[100:130, 60:80].mean(), gray[100:130, 120:140].mean()
            values.append(abs(left - right) / (left + right))
        return float(np.mean(values))

    assert contrast("S2") > 1.5 * contrast("S1")


def test_the_same_seed_draws_the_same_picture_and_another_does_not() -> None:
    for domain in DOMAINS:
        np.testing.assert_array_equal(draw(domain, 3), draw(domain, 3))
        assert (draw(domain, 3) != draw(domain, 4)).mean() > 0.5
