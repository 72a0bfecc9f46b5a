"""Writing LLVM's intermediate code as text."""

from collections.abc import Iterator
from contextlib import contextmanager

#: the block that what would be an exception in Python jumps to
FAILED = "failed"


class Code:
    """The body of one function while it is written."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._slots: dict[str, str] = {}
        self._n = 0

    def name(self, stem: str = "") -> str:
        """A name that is not used yet, without its sign."""
        self._n += 1
        return f"{stem}{self._n}"

    def op(self, text: str) -> str:
        """Write an instruction that gives a value; return the value."""
        value = f"%v{self.name()}"
        self.do(f"{value} = {text}")
        return value

    def do(self, text: str) -> None:
        """Write an instruction."""
        self._lines.append(f"  {text}")

    def label(self, name: str) -> None:
        """Begin a block."""
        self._lines.append(f"{name}:")

    def slot(self, key: str, of: str, *, n: int = 1) -> str:
        """A place on the stack for *n* values of a type; the same for the same key and type."""
        name = f'%"{key}.{of}"'
        self._slots[name] = f"  {name} = alloca {of}" if n == 1 else f"  {name} = alloca [{n} x {of}], align 8"
        return name

    def fail_if(self, condition: str) -> None:
        """Leave the function where Python would raise."""
        following = self.name("passed")
        self.do(f"br i1 {condition}, label %{FAILED}, label %{following}")
        self.label(following)

    def opaque(self, value: str) -> str:
        """
        The same integer, about which LLVM knows nothing.

        What LLVM proves of a value it leaves out, and the verifier then does not know it; and an index must stay one.
        """
        return self.op(f'call i64 asm "", "=r,0"(i64 {value})')

    @contextmanager
    def discarded(self) -> Iterator[None]:
        """Forget what is written meanwhile."""
        n, slots = len(self._lines), dict(self._slots)
        try:
            yield
        finally:
            del self._lines[n:]
            self._slots = slots

    def function(self, head: str, failed: int) -> str:
        """
        The whole function.

        :param head: its first line, without the brace
        :param failed: what it returns from where Python would raise
        """
        end = [f"{FAILED}:", f"  ret i32 {failed}", "}"]
        return "\n".join([f"{head} {{", "entry:", *self._slots.values(), *self._lines, *end]) + "\n"
