"""Makes `paillier.json`, the known answers of `paillier.rs`, with Python's integers and nothing of this project.

    python paillier.py > paillier.json

Primes are drawn from a fixed seed and tested by 40 rounds of Miller and Rabin; decryption is the textbook's, by Carmichael's function.
"""

import json
import math
import random

rng = random.Random(20260101)


def is_prime(n):
    if any(n % small == 0 for small in (2, 3, 5, 7, 11, 13, 17, 19, 23)):
        return False
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for _ in range(40):
        x = pow(rng.randrange(2, n - 1), odd, n)
        if x in (1, n - 1):
            continue
        for _ in range(twos - 1):
            x = x * x % n
            if x == n - 1:
                break
        else:
            return False
    return True


def prime(bits):
    while True:
        n = rng.getrandbits(bits) | 3 << (bits - 2) | 3
        if is_prime(n):
            return n


def case(bits):
    while True:
        p, q = prime(bits // 2), prime(bits // 2)
        if p != q and math.gcd((p - 1) // 2, (q - 1) // 2) == 1:
            break
    n = p * q
    square, exponent = n * n, math.lcm(p - 1, q - 1)
    unit = pow((pow(n + 1, exponent, square) - 1) // n, -1, n)
    decrypt = lambda c: (pow(c, exponent, square) - 1) // n * unit % n
    encrypt = lambda m, r: pow(n + 1, m, square) * pow(r, n, square) % square
    messages = [0, 1, 255, rng.randrange(n), n - 1]
    randoms = [rng.randrange(2, n) for _ in messages]
    ciphertexts = [encrypt(m, r) for m, r in zip(messages, randoms)]
    constant = rng.randrange(2**40)
    total = ciphertexts[3] * ciphertexts[4] % square
    multiple = pow(ciphertexts[3], constant, square)
    assert [decrypt(c) for c in ciphertexts] == messages
    numbers = {"p": p, "q": q, "n": n, "constant": constant, "sum": total, "multiple": multiple,
               "sum_opens_to": decrypt(total), "multiple_opens_to": decrypt(multiple)}  # fmt: skip
    lists = {"messages": messages, "randoms": randoms, "ciphertexts": ciphertexts}
    text = lambda x: f"{x:x}" if len(f"{x:x}") % 2 == 0 else f"0{x:x}"
    return {"bits": bits, **{k: text(v) for k, v in numbers.items()}, **{k: [text(x) for x in v] for k, v in lists.items()}}


print(json.dumps([case(bits) for bits in (256, 2048, 3072)], indent=1))
