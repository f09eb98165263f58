"""Pipelines, and client and server apart."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple, NoReturn, Optional, Union

from numpy.typing import NDArray

from . import _pleura
from ._arguments import whole
from ._plan import Plan
from .errors import DeviceWarning, InputError, RangeWarning, SecretError

__all__ = ["Client", "Fidelity", "Pipeline", "Seconds", "Server", "Session"]

Device = Union[str, int]


class Fidelity(NamedTuple):
    """Differences between encrypted results and those of the model."""

    max_abs_error: float
    """Largest absolute difference of scores."""
    mean_abs_error: float
    """Mean absolute difference of scores."""
    bits: float
    """`-log2` of the largest difference over the largest score of the model."""
    label_agreement: float
    """Share of items whose largest score is the same one."""


class Seconds(NamedTuple):
    """Seconds of the stages of a call."""

    encrypt: float
    """Encoding and encryption."""
    infer: float
    """Computation on ciphertexts."""
    decrypt: float
    """Decryption and rounding."""


class _Secret:
    """An object with a secret key, which is neither pickled nor copied."""

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise SecretError(
            f"a {type(self).__name__} holds a secret key, which must not leave by accident; send plans, evaluation keys "
            "and ciphertexts, or save the key on purpose with Client.secret(passphrase=...)"
        )


class Pipeline(_Secret):
    """Client and server in one process, over one plan: encrypts, computes on ciphertexts and decrypts.

    `device` is `auto` (the first hardware GPU, or else the processor), `cpu`, `gpu` or the number of a GPU from
    `pleura.devices()`; `threads` limits the processor. Raises `DeviceError` if there is no such device, and for a plan
    that needs more bytes of memory than `max_memory` (by default, than are available).

    >>> import pleura
    >>> prepare = pleura.XrayPreparation("pneumoniamnist")
    >>> items = prepare([sample.data for sample in pleura.samples()])
    >>> plan = pleura.compile(prepare.model, calibration=items)
    >>> pipeline = pleura.Pipeline(plan, device="cpu")
    >>> pipeline(items[:2].astype("float32")).dtype
    dtype('float32')
    """

    def __init__(
        self, plan: Plan, device: Device = "auto", threads: Optional[int] = None, max_memory: Optional[int] = None
    ) -> None:
        if not isinstance(plan, Plan):
            raise InputError(f"the plan is a {type(plan).__name__}; pleura.compile(model) makes one")
        self.plan = plan
        self._native = _pleura.Pipeline(
            plan._native, str(device), whole("threads", threads), whole("max_memory", max_memory)
        )
        _warn_of_device(self._native)

    def __call__(self, items: NDArray[Any], *, insecure_exact_results: bool = False) -> NDArray[Any]:
        """Results for `items`, `[batch, ...]` of float32 or float64 in any memory order; they have the dtype of `items`.

        Results are rounded so that they may be shown to others. With `insecure_exact_results` they have all their
        digits, which may reveal the secret key to those who see them and the ciphertexts.
        """
        result, found = self._native.run(items, bool(insecure_exact_results))
        _warn_of_range(found)
        return result

    @property
    def fidelity(self) -> Fidelity:
        """Differences between the scores of the last call, unrounded, and those of the model without encryption."""
        return Fidelity(*self._native.fidelity())

    @property
    def seconds(self) -> Seconds:
        """Seconds of the stages of the last call, zero before the first one."""
        return Seconds(*self._native.seconds())

    @property
    def device(self) -> str:
        """The device that computes, in a few words."""
        return self._native.device()

    def __repr__(self) -> str:
        return f"<pleura.Pipeline of {self.plan.name} on {self.device}>"


class Client(_Secret):
    """A client with a secret key: encrypts items and decrypts results.

    `spec` is `plan.client`, or the file `client.spec` of `pleura export`. Everything that leaves a client is `bytes`, in
    the formats of the command line's files. Only `secret` leaves with the key.

    >>> import pleura
    >>> prepare = pleura.XrayPreparation("pneumoniamnist")
    >>> items = prepare([sample.data for sample in pleura.samples()])
    >>> plan = pleura.compile(prepare.model, calibration=items)
    >>> client = pleura.Client(plan.client)
    >>> session = pleura.Server(plan.server, device="cpu").open_session(client.evaluation_keys())
    >>> client.decrypt(session.infer(client.encrypt(items[:2]))).shape
    (2, 2)
    """

    def __init__(
        self, spec: bytes, secret: Optional[bytes] = None, passphrase: Union[str, bytes, None] = None
    ) -> None:
        if secret is None:
            self._native = _pleura.Client.generate(_bytes(spec, "spec", "plan.client"))
        else:
            secret = _bytes(secret, "secret", "Client.secret()")
            self._native = _pleura.Client.from_secret(
                _bytes(spec, "spec", "plan.client"), secret, _passphrase(passphrase)
            )
        self.spec = bytes(spec)

    def evaluation_keys(self) -> bytes:
        """Keys with which a server computes on this client's ciphertexts, and cannot decrypt them."""
        return self._native.keys()

    def encrypt(self, items: NDArray[Any]) -> bytes:
        """Ciphertexts of `items`, `[batch, ...]` of float32 or float64."""
        ciphertexts, found = self._native.encrypt(items)
        _warn_of_range(found)
        return ciphertexts

    def decrypt(self, results: bytes) -> NDArray[Any]:
        """Results `[batch, ...]`, rounded so that they may be shown to others. Refuses those of other keys or items."""
        values, found = self._native.decrypt(_bytes(results, "results", "Session.infer()"))
        _warn_of_range(found)
        return values

    def secret(self, passphrase: Union[str, bytes, None] = None) -> bytes:
        """The secret key, encrypted under a passphrase if there is one. Keep it from others, the server included."""
        return self._native.secret(_passphrase(passphrase))

    @property
    def identity(self) -> str:
        """Identity of the key, which ciphertexts and evaluation keys name, in hexadecimal digits."""
        return self._native.identity()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of an item, without the batch axis."""
        return tuple(self._native.input_shape())

    @property
    def batch(self) -> int:
        """Number of items that share ciphertexts."""
        return self._native.batch()

    def __repr__(self) -> str:
        return f"<pleura.Client with key {self.identity[:8]}>"


class Server:
    """A plan on a device, for any number of clients. It holds no secret, and can be pickled.

    `plan` is `plan.server`, or the file `server.plan` of `pleura export`; `device`, `threads` and
    `max_memory` are as for `Pipeline`.
    """

    def __init__(
        self, plan: bytes, device: Device = "auto", threads: Optional[int] = None, max_memory: Optional[int] = None
    ) -> None:
        self._arguments = (_bytes(plan, "plan", "plan.server"), device, threads, max_memory)
        self._native = _pleura.Server(
            self._arguments[0], str(device), whole("threads", threads), whole("max_memory", max_memory)
        )
        _warn_of_device(self._native)

    def open_session(self, keys: bytes) -> Session:
        """Brings a client's evaluation keys to the device. Raises `DataError` for keys of another plan."""
        return Session(self._native.open_session(_bytes(keys, "keys", "Client.evaluation_keys()")))

    @property
    def device(self) -> str:
        """The device that computes, in a few words."""
        return self._native.device()

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore_server, (_pleura.VERSION, *self._arguments)

    def __repr__(self) -> str:
        return f"<pleura.Server on {self.device}>"


class Session:
    """A client's evaluation keys on a server. Deleting it frees their memory."""

    def __init__(self, native: _pleura.Session) -> None:
        self._native = native

    def infer(self, items: bytes) -> bytes:
        """Encrypted results of a client's ciphertexts. Raises `DataError` for ciphertexts of another plan or key."""
        return self._native.infer(_bytes(items, "items", "Client.encrypt()"))

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise InputError(
            "a Session lives on a device; send the server's plan and the evaluation keys, and open a session there"
        )


def _restore_server(
    version: str, plan: bytes, device: Device, threads: Optional[int], max_memory: Optional[int]
) -> Server:
    from .errors import VersionError

    if version != _pleura.VERSION:
        raise VersionError(
            f"the server was pickled by pleura {version}, and this is {_pleura.VERSION}; compile the model again"
        )
    return Server(plan, device, threads, max_memory)


def _bytes(value: Any, name: str, origin: str) -> bytes:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise InputError(f"{name} is a {type(value).__name__}; it is the bytes of {origin}")


def _passphrase(passphrase: Union[str, bytes, None]) -> Optional[bytes]:
    if passphrase is None or isinstance(passphrase, bytes):
        return passphrase
    if isinstance(passphrase, str):
        return passphrase.encode()
    raise InputError(f"the passphrase is a {type(passphrase).__name__}; give a str or bytes")


def _warn_of_range(found: list[str]) -> None:
    for sentence in found:
        warnings.warn(sentence, RangeWarning, stacklevel=3)


def _warn_of_device(native: Any) -> None:
    for serious, sentence in native.device_notes():
        if serious:
            warnings.warn(sentence, DeviceWarning, stacklevel=3)
