"""Formats units of measurement."""


def squared(unit: str) -> str:
    """Returns the square of a unit: ``D`` -> ``D²``, ``Bohr^3`` -> ``(Bohr^3)²``."""
    if unit == "unit unknown":
        return unit
    return f"{unit}²" if unit.isalpha() else f"({unit})²"
