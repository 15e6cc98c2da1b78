import hashlib
import subprocess
import sys

import pytest

from edge_runtime.files.digest import WORTH_OPENSSL, sha256_for


@pytest.mark.parametrize("nbytes", [0, 1, 64, WORTH_OPENSSL - 1, WORTH_OPENSSL])
def test_the_digest_is_that_of_hashlib_whatever_computes_it(nbytes):
    """Small and large data, in a process that has loaded hashlib and in one that has not."""
    content = bytes(range(256)) * (nbytes // 256) + bytes(nbytes % 256)
    expected = hashlib.sha256(content).hexdigest()
    assert sha256_for(nbytes)(content).hexdigest() == expected
    code = (
        "from edge_runtime.files.digest import sha256_for\n"
        f"content = bytes(range(256)) * {nbytes // 256} + bytes({nbytes % 256})\n"
        "print(sha256_for(len(content))(content).hexdigest())"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == expected
