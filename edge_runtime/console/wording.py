"""What help says of the options that several command lines share."""

# What options are called without the dashes, and what help says of them.
HELP = {
    "input": "Rows to run: .npy, .npz, a table (.csv, .txt, .csv.gz), or - for standard input, row by row.",
    "output": ".npy, .csv, or - for standard output.",
    "classes": "Write the class of each row instead of all outputs.",
    "jsonl": "Write one JSON object a row, for other programs.",
    "force": "Replace an output file even where it is something else.",
    "ram-bytes": "Refuse to run in more memory than this, such as 64K.",
    "flash-bytes": "Refuse an artifact that is larger than this.",
    "device": "Keep the RAM and flash of this device. Its speed is predicted, not kept.",
    "speed-factor": "Make each run take N x as long.",
    "max-batch": "Rows sent through the network together.",
    "over-batch": "More rows than --max-batch: run them part by part, or refuse them.",
    "backend": "NumPy, kernels that this machine's C compiler makes once, or those where they can be had.",
    "lean": "Widen int8 and float16 weights at each run, even where there is memory for float copies.",
    "max-bytes": "Largest file to read, such as 2G (default: 256M for a model, 1G for data).",
    "json": "Print one JSON object instead of text.",
    "quiet": "No progress and no notes; warnings and errors alone.",
    "threads": "Threads of NumPy's matrix products (default: 1, or what OMP_NUM_THREADS and its like say).",
}
