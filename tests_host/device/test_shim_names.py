"""The modules' names: what is listed is on boards too; on CPython there is nothing else."""

from support import WHERE

NAMES = {
    "_thread": "LockType allocate_lock exit get_ident stack_size start_new_thread",
    "array": "array",
    "asyncio": "CancelledError Event Lock Task ThreadSafeFlag TimeoutError create_task"
    " current_task gather get_event_loop new_event_loop open_connection run sleep sleep_ms"
    " start_server ticks ticks_add ticks_diff wait_for wait_for_ms",
    "binascii": "a2b_base64 b2a_base64 crc32 hexlify unhexlify",
    "cmath": "cos e exp log log10 phase pi polar rect sin sqrt",
    "collections": "OrderedDict deque namedtuple",
    "errno": "EACCES EADDRINUSE EAGAIN EALREADY EBADF ECONNABORTED ECONNREFUSED ECONNRESET EEXIST"
    " EHOSTUNREACH EINPROGRESS EINVAL EIO EISDIR ENOBUFS ENODEV ENOENT ENOMEM ENOTCONN EOPNOTSUPP"
    " EPERM ETIMEDOUT errorcode",
    "gc": "collect disable enable isenabled mem_alloc mem_free threshold",
    "hashlib": "md5 sha1 sha256",
    "heapq": "heapify heappop heappush",
    "io": "BytesIO IOBase StringIO open",
    "json": "dump dumps load loads",
    "machine": "idle soft_reset",
    "math": "acos acosh asin asinh atan atan2 atanh ceil copysign cos cosh degrees e erf erfc exp"
    " expm1 fabs factorial floor fmod frexp gamma inf isclose isfinite isinf isnan ldexp lgamma"
    " log log10 log2 modf nan pi pow radians sin sinh sqrt tan tanh tau trunc",
    "micropython": "RingIO const heap_lock heap_unlock kbd_intr mem_current mem_info mem_peak"
    " mem_total opt_level qstr_info schedule stack_use",
    "os": "VfsPosix chdir getcwd getenv ilistdir listdir mkdir mount putenv remove rename rmdir"
    " sep stat statvfs system umount unlink unsetenv urandom",
    "platform": "libc_ver platform",
    "random": "choice getrandbits randint random randrange seed uniform",
    "re": "compile match search sub",
    "select": "POLLERR POLLHUP POLLIN POLLOUT poll",
    "socket": "AF_INET AF_INET6 AF_UNIX MSG_DONTROUTE MSG_DONTWAIT SOCK_DGRAM SOCK_RAW"
    " SOCK_STREAM SOL_SOCKET SO_BROADCAST SO_ERROR SO_KEEPALIVE SO_LINGER SO_REUSEADDR"
    " getaddrinfo inet_ntop inet_pton sockaddr socket",
    "struct": "calcsize pack pack_into unpack unpack_from",
    "sys": "argv atexit byteorder exc_info executable exit implementation maxsize modules path"
    " platform print_exception stderr stdin stdout version version_info",
    "time": "gmtime localtime mktime sleep sleep_ms sleep_us ticks_add ticks_cpu ticks_diff"
    " ticks_ms ticks_us time time_ns",
    "tls": "CERT_NONE CERT_OPTIONAL CERT_REQUIRED MBEDTLS_VERSION PROTOCOL_DTLS_CLIENT"
    " PROTOCOL_DTLS_SERVER PROTOCOL_TLS_CLIENT PROTOCOL_TLS_SERVER SSLContext",
    "vfs": "VfsPosix mount umount",
}


def test_names():
    for module_name, listed in NAMES.items():
        module = __import__(module_name)
        for name in listed.split():
            assert hasattr(module, name), (module_name, name)
        if WHERE == "cpython":
            public = [name for name in dir(module) if not name.startswith("__")]
            assert public == sorted(listed.split(), key=str), module_name


def test_builtins():
    import builtins

    for name in ("open", "execfile", "OSError", "memoryview", "isinstance", "compile"):
        assert hasattr(builtins, name)
    for name in ("FileNotFoundError", "breakpoint", "vars", "anext", "BlockingIOError"):
        assert not hasattr(builtins, name)


def test_a_builtin_can_be_replaced():
    import builtins

    own = builtins.len
    builtins.len = lambda _thing: 7
    try:
        assert len("") == 7
    finally:
        builtins.len = own
    assert len("") == 0
