from typing import Any

Pointer = Any

ffi: Any
lib: Any
