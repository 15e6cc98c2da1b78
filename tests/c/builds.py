"""How exported C is compiled for this machine: {what it is called: the compiler and its flags}."""

BUILDS = {
    "gcc -O0": ("gcc", "-O0"),
    "gcc -O2": ("gcc", "-O2"),
    "gcc -O3": ("gcc", "-O3", "-march=native", "-std=gnu17"),
    "gcc checked": ("gcc", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    "clang -O0": ("clang", "-O0"),
    "clang -O2": ("clang", "-O2"),
    "clang -O3": ("clang", "-O3", "-march=native", "-std=gnu17"),
    "clang checked": ("clang", "-O1", "-g", "-fsanitize=undefined", "-fsanitize-trap=undefined"),
}
