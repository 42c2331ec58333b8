"""Kernels that execute notebooks one after the other, so that what these import is imported once."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lib.execution.source_code import library_digest

START = Path.cwd(), dict(os.environ)  # of a kernel, which imports this module first
AT_START = [f"--IPKernelApp.exec_lines=__import__({__name__!r})"]
RENEW = f"__import__({__name__!r}, fromlist=['renew']).renew()"


class Kernels(ExitStack):
    """The kernels of a run, one for each notebook under way; they end with the context."""

    def __init__(self) -> None:
        super().__init__()
        self._idle: list[tuple[str, Any]] = []

    @contextmanager
    def one(self) -> Iterator[Any]:
        """Yield the manager of a kernel, for nbclient: not started yet, or as if it had just started.

        The kernel ends where the notebook fails, and none is used again once the library's code has changed.
        """
        code, kernel = library_digest(), None
        with suppress(IndexError):  # none is idle
            while kernel is None:
                known, kernel = self._idle.pop()
                if known != code or kernel.provisioner.process.poll() is not None:
                    kernel = kernel.end()
        kernel = kernel or self._new()
        with ExitStack() as ends:
            ends.callback(kernel.end)
            yield kernel
            if kernel.renewed():
                ends.pop_all()
                self._idle.append((code, kernel))

    def _new(self) -> Any:
        from jupyter_client.manager import AsyncKernelManager
        from jupyter_core.utils import run_sync

        class Manager(AsyncKernelManager):
            _client: Any = None

            def client(self, **options: Any) -> Any:  # nbclient leaves it open
                self._client = super().client(**options)
                return self._client

            @run_sync
            async def renewed(self) -> bool:
                """Make the kernel as it was at its start; tells whether that went well."""
                try:
                    alive = await self.is_alive()
                    reply = alive and await self._client.execute(RENEW, silent=True, reply=True, timeout=10)
                    return bool(reply and reply["content"]["status"] == "ok")
                except TimeoutError:  # it was killed meanwhile
                    return False
                finally:
                    self._client.stop_channels()

            @run_sync
            async def end(self) -> None:
                if self._client:
                    self._client.stop_channels()
                if await self.is_alive():
                    await self.shutdown_kernel()
                await self.cleanup_resources()

        # sockets in a folder of the user's own instead of open ports, where the system can
        folder = self.enter_context(TemporaryDirectory(prefix="kernel-"))
        sockets = {"transport": "ipc", "ip": f"{folder}/k"} if os.name == "posix" else {}
        kernel: Any = Manager(kernel_name="python3", **sockets)
        self.callback(kernel.end)
        return kernel


def renew() -> None:
    """Take back a notebook's names, figures, style, folder, environment; modules stay, with settings of their own."""
    from IPython import get_ipython

    if plt := sys.modules.get("matplotlib.pyplot"):
        plt.close("all")
        plt.rcdefaults()
    folder, environment = START
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    get_ipython().reset()
    gc.collect()
