"""The active-surface energy on the unit sphere, as a kernel.

A closed surface of genus 0 is a map X from the unit sphere to space. The energy of the active surface model,

    E(X) = integral of  a0 |X|^2 + alpha |grad X|^2 + beta |Lap X|^2   (tension, membrane, thin plate)

is diagonal in spherical harmonics: degree l costs e_l = a0 + alpha * lam + beta * lam^2 with lam = l (l + 1). The
surface of least energy through given points is therefore a sum of Green's functions,

    X(v) = t + sum_i K(<v, u_i>) c_i,      K(x) = sum_{l=1..50} (2l + 1) / (4 pi e_l) P_l(x),

where u_i is the place on the sphere to which point i is attached. No mesh matrix is needed: a solve has the size of the
points, not of the mesh. Degree 0 is left free: it is the position of the surface.

Points are rows of arrays of shape (N, 3). Everything is in the frame and the unit of the points given.

Reference: Kass, Witkin, Terzopoulos, "Snakes: active contour models", IJCV 1988, for the energy;
Weak-Net, section 3.2, for its use on a few surface points.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy  # its parts are loaded where they are first used
from numpy.typing import NDArray

DEGREES = np.arange(1.0, 51.0)
_TABLE_INTERVALS = 8192

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class SphereKernel:
    """Green's function of an active-surface energy, tabulated over the cosine of the angle between two directions.

    Attributes:
        values: K at M + 1 evenly spaced cosines from -1 to 1.
        steps: increase of K from each of them to the next, 0 for the last.
        at_zero_angle: K(1), the largest value; smoothing is given relative to it.
    """

    values: FloatArray
    steps: FloatArray
    at_zero_angle: float

    @classmethod
    def from_degree_energies(cls, energies: FloatArray) -> SphereKernel:
        """Sum the Legendre series of e_l > 0, l = 1..50."""
        table = (2 * DEGREES + 1) / (4 * np.pi) / energies @ _legendre_table()
        return cls(values=table, steps=np.append(np.diff(table), 0.0), at_zero_angle=float(table[-1]))

    def __call__(self, cosines: FloatArray) -> FloatArray:
        """K at the given cosines, linear between table entries."""
        return self.with_derivative(cosines)[0]

    def with_derivative(self, cosines: FloatArray) -> tuple[FloatArray, FloatArray]:
        """K and dK/dcos; the derivative is exactly that of the interpolated K, so line searches see one function."""
        scale = _TABLE_INTERVALS / 2
        position = cosines * scale
        position += scale
        index = position.astype(np.intp)
        position -= index
        # Rounding may take a cosine just beyond the table's end; "clip" is also the faster way to take.
        step = self.steps.take(index, mode="clip")
        position *= step
        position += self.values.take(index, mode="clip")
        step *= scale
        return position, step


@dataclass(frozen=True)
class SphereMap:
    """A map from the sphere to space, X(v) = translation + K(v, attachments) coefficients."""

    kernel: SphereKernel
    attachments: FloatArray
    coefficients: FloatArray
    translation: FloatArray

    def __call__(self, directions: FloatArray) -> FloatArray:
        """Positions of unit directions of shape (V, 3)."""
        return self.kernel(directions @ self.attachments.T) @ self.coefficients + self.translation

    def matrix(self, rho: float) -> FloatArray:
        """K between the attachments, with smoothing relative to K(1) on the diagonal."""
        matrix = self.kernel(self.attachments @ self.attachments.T)
        matrix.flat[:: len(matrix) + 1] += rho * self.kernel.at_zero_angle
        return matrix


def solve_map(kernel: SphereKernel, attachments: FloatArray, points: FloatArray, rho: float) -> SphereMap:
    """Least-energy map that takes each attachment to its point, up to smoothing rho relative to K(1).

    Solves [[K + rho K(1) I, 1], [1', 0]] [C; t] = [P; 0]; attachments are unit vectors, (N, 3), as are the points.
    """
    matrix = kernel(attachments @ attachments.T)
    coefficients, translation = solve_bordered(matrix, points, rho * kernel.at_zero_angle)
    return SphereMap(kernel, attachments, coefficients, translation)


def optimise_attachments(
    kernel: SphereKernel, attachments: FloatArray, points: FloatArray, rho: float, iterations: int
) -> FloatArray:
    """Slide the attachments on the sphere so that the energy of the map through the points becomes smallest.

    The energy at the optimal map is trace(P'C); its derivative by u_i is -2 sum_j <c_i, c_j> K'(<u_i, u_j>) u_j.
    Arguments as of `solve_map`; at most so many iterations of L-BFGS. Returns unit vectors, (N, 3).
    """
    n_points = len(points)
    ridge = rho * kernel.at_zero_angle

    def energy_and_gradient(flat: FloatArray) -> tuple[float, FloatArray]:
        free = flat.reshape(n_points, 3)
        norm = np.sqrt(np.einsum("ij,ij->i", free, free))[:, None]
        unit = free / norm
        matrix, derivative = kernel.with_derivative(unit @ unit.T)
        coefficients, _ = solve_bordered(matrix, points, ridge)
        derivative *= coefficients @ coefficients.T
        gradient = derivative @ unit
        gradient *= -2
        gradient -= np.einsum("ij,ij->i", gradient, unit)[:, None] * unit
        gradient /= norm
        return float(np.vdot(points, coefficients)), gradient.ravel()

    options = {"maxiter": iterations, "maxcor": 10}
    result = scipy.optimize.minimize(
        energy_and_gradient, attachments.ravel(), jac=True, method="L-BFGS-B", options=options
    )
    free = result.x.reshape(n_points, 3)
    return free / np.linalg.norm(free, axis=1, keepdims=True)


def solve_bordered(matrix: FloatArray, points: FloatArray, ridge: float) -> tuple[FloatArray, FloatArray]:
    """Solve [[matrix + ridge I, 1], [1', 0]] [C; t] = [points; 0] for coefficients and translation, in place."""
    n_points = len(points)
    matrix.flat[:: n_points + 1] += ridge
    right = np.empty((n_points, 4), order="F")
    right[:, :3] = points
    right[:, 3] = 1
    _, solution, info = scipy.linalg.lapack.dposv(matrix.T, right, lower=0, overwrite_a=1, overwrite_b=1)
    if info != 0:
        raise np.linalg.LinAlgError("the kernel matrix of the surface fit is not positive definite")
    translation = solution[:, :3].sum(axis=0) / solution[:, 3].sum()
    return solution[:, :3] - solution[:, 3:] * translation, translation


@lru_cache(maxsize=1)
def _legendre_table() -> FloatArray:
    """P_1..P_50 on the table's grid, shape (50, M + 1)."""
    return scipy.special.eval_legendre(DEGREES.astype(int)[:, None], np.linspace(-1, 1, _TABLE_INTERVALS + 1))
