"""Which words a name of the package's own may become on a board, and which names keep theirs."""

# What applications may use (README.md, docs/); in the last line what a cloud's dialect defines
# and uses, and nothing else keeps.
PUBLIC = frozenset(
    """Client ConfigError OtaError TIMED_OUT NOT_FOUND EXPIRED MISMATCH FAILED client config
    version state firmware_dir log run start serve step exit close idle idle_ms update_progress
    confirm events exiting defer on_firmware on_failure code message again after_s md5
    payload_size online feed once load save
    TOPICS ask report_version report_progress update_firmware sign_in hmac enqueue""".split()
)

# Bound in the package, and by the same name in MicroPython's modules, umqtt or requests.
FOREIGN = frozenset(
    """AF_INET SOCK_STREAM State active buffer close code commit config connect digest
    discard exit feed fill getaddrinfo idle join line link load log md5 member message next parse
    path phase pid poll post publish push raw read readinto readline reason reset run seek send
    setblocking settimeout size socket start state step verify_mode version write""".split()
)

# The words of the .mpy format (version 6) that neither the interpreter nor a library looks for
# in an object of ours. One that occurs in the package is passed over.
WORDS = """
    all any abs end get hash id key len map ord pop pow set str sum zip chr dir int bool copy dict
    eval exec find iter keys list main open sort stop type args bytes clear count index isinstance
    items lower print range round split strip super tuple upper values append extend format insert
    locals lstrip object remove repr rfind rindex rsplit rstrip setattr sorted update callable
    divmod isalpha isdigit islower isspace isupper popitem replace reverse getattr hasattr
    globals builtins bytecode bytearray endswith issubclass setdefault startswith classmethod
    staticmethod from_bytes to_bytes Ellipsis EOFError KeyError NameError NoneType TypeError
    IndexError ValueError LookupError SystemExit ImportError MemoryError SyntaxError
    RuntimeError GeneratorExit OverflowError StopIteration AssertionError AttributeError
    ArithmeticError IndentationError ZeroDivisionError KeyboardInterrupt NotImplementedError
""".split()

# Those of modules that every port has: no heap either, but their text is in the file.
MORE_WORDS = """
    e pi inf nan tau oct bin hex exp cos sin tan add erf sub sqrt acos asin atan cosh sinh tanh
    ceil fabs fmod modf erfc log2 real imag PTR VOID INT8 pack floor trunc log10 slice float
    frexp ldexp gamma isinf isnan union match group deque UINT8 INT16 INT32 ARRAY unpack center
    search complex filter popleft isclose heappop heappush heapify degrees radians lgamma
    copysign factorial isdisjoint issubset issuperset enumerate reversed frozenset property
    delattr namedtuple calcsize pack_into unpack_from appendleft expm1 acosh asinh atanh atan2
    isfinite UINT16 UINT32 FLOAT32 FLOAT64 addressof sizeof bytes_at splitlines intersection
""".split()
