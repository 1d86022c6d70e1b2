"""Logistic regression on pixels: what a set gives away without any network."""

from __future__ import annotations

import warnings

import cv2
import numpy as np
from jaxtyping import Float
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from emojax.data.resident import keep_faces
from emojax.data.shards import FaceArrays
from emojax.evaluate import Predictions, middle_faces
from emojax.labels import UNKNOWN


def _pixels(arrays: FaceArrays) -> Float[np.ndarray, "example pixels"]:
    faces = middle_faces(arrays)
    height, width = faces.shape[1] // 2, faces.shape[2] // 2
    return np.stack(
        [cv2.resize(face, (width, height), interpolation=cv2.INTER_AREA).ravel() for face in faces]
    ).astype(np.float32)


def _classifier() -> LogisticRegression:
    return LogisticRegression(C=0.1, max_iter=300)


def pixel_baseline(
    train: FaceArrays, test: FaceArrays, num_emotions: int, components: int = 200
) -> Predictions:
    """Return what logistic regression on pixels says of the test split.

    Faces at half size, their first principal components, standardised; one
    multinomial model for the emotions, one binary model for each action unit.
    A unit that is always present or always absent in training gets that answer.

    Args:
        train: the split that is learned from, by its examples that have a face.
        test: the split that is answered; each example has a face (`resident.keep_faces`).
        num_emotions: size of the emotion set.
        components: of the principal component analysis.
    """
    train = keep_faces(train)
    with warnings.catch_warnings():
        # An unconverged baseline is still one; its figure says how good.
        warnings.simplefilter("ignore", ConvergenceWarning)
        pixels = _pixels(train)
        reduce: Pipeline = make_pipeline(
            PCA(min(components, *pixels.shape), svd_solver="randomized", random_state=0),
            StandardScaler(),
        )
        inputs = reduce.fit_transform(pixels)
        questions = reduce.transform(_pixels(test))
        emotions = np.zeros((len(questions), num_emotions), np.float32)
        # To a network without neutral, a neutral face has an emotion beyond its last.
        known = (train.emotion != UNKNOWN) & (train.emotion < num_emotions)
        if len(np.unique(train.emotion[known])) > 1:
            model = _classifier().fit(inputs[known], train.emotion[known])
            emotions[:, model.classes_] = model.predict_proba(questions)
        units = np.zeros((len(questions), train.action_units.shape[1]), np.float32)
        for column in range(units.shape[1]):
            label = train.action_units[:, column]
            known = label != UNKNOWN
            if len(np.unique(label[known])) == 2:
                model = _classifier().fit(inputs[known], label[known])
                units[:, column] = model.predict_proba(questions)[:, 1]
            elif known.any():
                units[:, column] = label[known][0]
    return Predictions(action_units=units, emotions=emotions, loss=float("nan"))
