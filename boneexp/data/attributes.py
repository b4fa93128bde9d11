"""What the table says of an image, as the ledger keeps it for subgroups: attribute and value, as text.

An image may have several values of one attribute, such as two sites. The age is kept as a band.
"""

from collections.abc import Iterator

from boneexp.data.radiograph import Radiograph
from boneexp.results import CLASS_NAMES

AGE_BANDS = ((0, "0-9"), (10, "10-19"), (20, "20-39"), (40, "40-59"), (60, "60 and above"))  # years
UNKNOWN = "not known"
SEXES = {"F": "female", "M": "male"}


def attributes_of(radiograph: Radiograph) -> Iterator[tuple[str, str]]:
    """Yield (attribute, value) of an image: sites, regions, views, subtypes of a tumour, sex and age band."""
    listed = {"site": radiograph.sites, "region": radiograph.regions, "view": radiograph.views}
    if CLASS_NAMES[radiograph.label] != "Normal":
        listed["subtype"] = radiograph.subtypes
    for attribute, values in listed.items():
        for value in values or (UNKNOWN,):
            yield attribute, value
    yield "sex", SEXES.get(radiograph.gender or "", UNKNOWN)
    yield "age band", UNKNOWN if radiograph.age is None else age_band(radiograph.age)


def age_band(age: int) -> str:
    """Return the band of an age in years, "10-19".

    Raises:
        ValueError: the age is below 0.
    """
    if age < 0:
        raise ValueError(f"an age of {age} years")
    return [name for first, name in AGE_BANDS if age >= first][-1]
