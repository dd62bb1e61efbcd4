"""Single points of GFN2-xTB, a semi-empirical quantum-chemical method (Bannwarth et al. 2019,
doi:10.1021/acs.jctc.8b01176), by tblite."""

from dataclasses import dataclass

import numpy as np

from datasets.errors import InputError

BOHR_PER_ANGSTROM = 1 / 0.529177210903
"""Bohr radii in one Angstrom, CODATA 2018."""

DEBYE_PER_ATOMIC_UNIT = 2.541746473
"""Debye in one elementary charge times Bohr, CODATA 2018."""


class SinglePointError(Exception):
    """The self-consistent field of a molecule does not converge, or it is no closed shell."""


@dataclass(frozen=True)
class SinglePoint:
    """What GFN2-xTB finds for one molecule at one geometry.

    Attributes:
        dipole: Dipole moment, (3,) float64, in Debye, in the frame of the positions.
        charges: Partial charges of the atoms, (atoms,) float64, in elementary charges.
    """

    dipole: np.ndarray
    charges: np.ndarray


def single_point(atomic_numbers: np.ndarray, positions: np.ndarray) -> SinglePoint:
    """Computes a neutral closed-shell molecule in vacuum.

    Args:
        atomic_numbers: (atoms,).
        positions: (atoms, 3), in Angstrom.

    Raises:
        SinglePointError: If the self-consistent field does not converge, or the number of
            electrons is odd.
        InputError: If tblite is not installed.
    """
    try:
        from tblite.exceptions import TBLiteRuntimeError
        from tblite.interface import Calculator
    except ImportError as error:
        raise InputError(
            f"GFN2-xTB needs tblite, which cannot be imported here ({error}): pip install tblite"
        ) from None
    if atomic_numbers.sum() % 2:
        raise SinglePointError("an odd number of electrons")
    bohr = positions.astype(np.float64) * BOHR_PER_ANGSTROM
    try:
        calculator = Calculator("GFN2-xTB", atomic_numbers.astype(np.int64), bohr)
        calculator.set("verbosity", 0)
        found = calculator.singlepoint()
    except TBLiteRuntimeError as error:
        raise SinglePointError(str(error)) from error
    return SinglePoint(
        dipole=np.array(found.get("dipole")) * DEBYE_PER_ATOMIC_UNIT,
        charges=np.array(found.get("charges")),
    )
