"""The type checker that runs inside the tests: beartype, with int taken where float is asked.

PEP 484 says that it may be; beartype says so only when told. `pyproject.toml`
names `checked` to jaxtyping's pytest plugin.
"""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
