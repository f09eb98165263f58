"""One function per library: set it up for N = 2^log_n, check its results, time it.

Every function takes (log_n, seconds) and returns the object that Pleura's `peer` binary prints.
"""

import importlib.metadata
import math
import os
import random
import statistics
import tempfile
import time


def timed(op, seconds):
    """Median time of `op` in ms, over at least `seconds` and five repetitions."""
    op()
    samples, start = [], time.perf_counter()
    while len(samples) < 5 or time.perf_counter() - start < seconds:
        begin = time.perf_counter()
        op()
        samples.append(time.perf_counter() - begin)
    return statistics.median(samples) * 1e3


def time_all(seconds, **ops):
    return {name: timed(op, seconds) for name, op in ops.items()}


def check(got, want):
    """A timing of a wrong result is worth nothing."""
    error = max(abs(g - w) for g, w in zip(got, want, strict=True))
    if not error < 1e-2:
        raise ArithmeticError(f"result is off by {error:.3g}")


def inputs(log_n):
    """Two full slot vectors, their product, and the first rotated left by one."""
    rng = random.Random(1)
    x, y = ([rng.uniform(-1, 1) for _ in range(1 << (log_n - 1))] for _ in range(2))
    return x, y, [a * b for a, b in zip(x, y)], x[1:] + x[:1]


def report(library, package, log_n, levels, ms, sizes=None, log2_q=None, log2_qp=None):
    out = {"library": library, "version": importlib.metadata.version(package), "log_n": log_n,
           "log2_q": log2_q, "log2_qp": log2_qp, "levels": levels, "threads": 1,
           "ms": ms, "bytes": sizes or {}}
    return {key: value for key, value in out.items() if value is not None}


def saved(save):
    """Size of the file that `save(path)` writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "object")
        save(path)
        return os.path.getsize(path)


# SEAL spends the last prime on key switching, so Q is all the others.
SEAL_BITS = {13: [40] * 4 + [54], 14: [47] * 8 + [54], 15: [54] * 15 + [58]}


def seal_modulus(log_n):
    import tenseal.sealapi as seal

    primes = seal.CoeffModulus.Create(1 << log_n, SEAL_BITS[log_n])
    logs = [math.log2(prime.value()) for prime in primes]
    return primes, {"levels": len(primes) - 2, "log2_q": sum(logs[:-1]), "log2_qp": sum(logs)}


def tenseal(log_n, seconds):
    import tenseal as ts

    bits = SEAL_BITS[log_n]
    ctx = ts.context(ts.SCHEME_TYPE.CKKS, 1 << log_n, coeff_mod_bit_sizes=bits, n_threads=1)
    ctx.global_scale = 2.0 ** bits[0]
    ctx.auto_relin = ctx.auto_rescale = True
    x, y, product, _ = inputs(log_n)
    a, b = ts.ckks_vector(ctx, x), ts.ckks_vector(ctx, y)
    check((a * b).decrypt(), product)
    ms = time_all(seconds, hmult=lambda: a * b, encrypt=lambda: ts.ckks_vector(ctx, x),
                  decrypt=a.decrypt)
    bare = dict(save_public_key=False, save_secret_key=False, save_galois_keys=False)
    relin = (len(ctx.serialize(**bare, save_relin_keys=True))
             - len(ctx.serialize(**bare, save_relin_keys=False)))
    sizes = {"ciphertext": len(a.serialize()), "relin_key": relin}
    return report("TenSEAL", "tenseal", log_n, ms=ms, sizes=sizes, **seal_modulus(log_n)[1])


def sealapi(log_n, seconds):
    import tenseal.sealapi as seal

    primes, modulus = seal_modulus(log_n)
    parms = seal.EncryptionParameters(seal.SCHEME_TYPE.CKKS)
    parms.set_poly_modulus_degree(1 << log_n)
    parms.set_coeff_modulus(primes)
    ctx = seal.SEALContext(parms, True, seal.SEC_LEVEL_TYPE.TC128)
    keygen, scale = seal.KeyGenerator(ctx), 2.0 ** SEAL_BITS[log_n][0]
    public, relin, galois = seal.PublicKey(), seal.RelinKeys(), seal.GaloisKeys()
    keygen.create_public_key(public)
    keygen.create_relin_keys(relin)
    keygen.create_galois_keys([3], galois)  # the Galois element of a rotation by one
    encoder, evaluator = seal.CKKSEncoder(ctx), seal.Evaluator(ctx)
    encryptor, decryptor = seal.Encryptor(ctx, public), seal.Decryptor(ctx, keygen.secret_key())

    def encode(values):
        plain = seal.Plaintext()
        encoder.encode(values, scale, plain)
        return plain

    def encrypt(plain):
        cipher = seal.Ciphertext(ctx)
        encryptor.encrypt(plain, cipher)
        return cipher

    def decrypt(cipher):
        plain = seal.Plaintext()
        decryptor.decrypt(cipher, plain)
        return encoder.decode_double(plain)

    def hmult():
        out = seal.Ciphertext(ctx)
        evaluator.multiply(a, b, out)
        evaluator.relinearize_inplace(out, relin)
        evaluator.rescale_to_next_inplace(out)
        return out

    def hrot():
        out = seal.Ciphertext(ctx)
        evaluator.rotate_vector(a, 1, galois, out)
        return out

    x, y, product, rotated = inputs(log_n)
    plain = encode(x)
    a, b = encrypt(plain), encrypt(encode(y))
    check(decrypt(hmult()), product)
    check(decrypt(hrot()), rotated)
    ms = time_all(seconds, hmult=hmult, hrot=hrot, encode=lambda: encode(x),
                  encrypt=lambda: encrypt(plain), decrypt=lambda: decrypt(a))
    sizes = {"ciphertext": saved(a.save), "galois_key": saved(galois.save),
             "relin_key": saved(relin.save)}
    return report("TenSEAL (sealapi)", "tenseal", log_n, ms=ms, sizes=sizes, **modulus)


# Depth, scaling bits, first modulus bits. At 2^13 a first modulus near 60 bits would bring in a
# second 60-bit special prime, which overruns the budget.
OPENFHE = {13: (2, 50, 54), 14: (5, 50, 60), 15: (11, 51, 60)}
OPENFHE_DIGITS = 3


def openfhe(log_n, seconds):
    import numpy as np
    import openfhe as fhe

    depth, scaling, first = OPENFHE[log_n]
    parms = fhe.CCParamsCKKSRNS()
    parms.SetSecurityLevel(fhe.HEStd_NotSet)
    parms.SetSecretKeyDist(fhe.UNIFORM_TERNARY)
    parms.SetRingDim(1 << log_n)
    parms.SetBatchSize(1 << (log_n - 1))
    parms.SetMultiplicativeDepth(depth)
    parms.SetScalingModSize(scaling)
    parms.SetFirstModSize(first)
    parms.SetScalingTechnique(fhe.FIXEDMANUAL)
    parms.SetKeySwitchTechnique(fhe.HYBRID)
    parms.SetNumLargeDigits(OPENFHE_DIGITS)
    ctx = fhe.GenCryptoContext(parms)
    for feature in (fhe.PKE, fhe.KEYSWITCH, fhe.LEVELEDSHE):
        ctx.Enable(feature)
    keys = ctx.KeyGen()
    ctx.EvalMultKeyGen(keys.secretKey)
    ctx.EvalRotateKeyGen(keys.secretKey, [1])

    def decrypt(cipher):
        plain = ctx.Decrypt(keys.secretKey, cipher)
        plain.SetLength(1 << (log_n - 1))
        return plain.GetRealPackedValue()

    x, y, product, rotated = inputs(log_n)
    encode = ctx.MakeCKKSPackedPlaintext
    x, y = np.array(x), np.array(y)  # the wrapper reads arrays without converting each number
    plain = encode(x)
    a, b = ctx.Encrypt(keys.publicKey, plain), ctx.Encrypt(keys.publicKey, encode(y))
    check(decrypt(ctx.Rescale(ctx.EvalMult(a, b))), product)
    check(decrypt(ctx.EvalRotate(a, 1)), rotated)
    ms = time_all(seconds, hmult=lambda: ctx.Rescale(ctx.EvalMult(a, b)),
                  hrot=lambda: ctx.EvalRotate(a, 1), encode=lambda: encode(x),
                  encrypt=lambda: ctx.Encrypt(keys.publicKey, plain), decrypt=lambda: decrypt(a))
    sizes = {"ciphertext": len(fhe.Serialize(a, fhe.BINARY)),
             "galois_key": saved(lambda path: ctx.SerializeEvalAutomorphismKey(path, fhe.BINARY)),
             "relin_key": saved(lambda path: ctx.SerializeEvalMultKey(path, fhe.BINARY))}
    # The wrapper hides P; a key is 2 polynomials per digit over Q and the 60-bit primes of P.
    towers = round(sizes["relin_key"] / (OPENFHE_DIGITS * 16 << log_n))
    log2_q = math.log2(ctx.GetModulus())
    return report("OpenFHE", "openfhe", log_n, depth, ms, sizes,
                  log2_q, log2_q + 60 * (towers - depth - 1))


# HElayers offers Lattigo's presets only (PN13QP218, PN14QP438, PN15QP880): bits of Q and of P.
LATTIGO = {13: ([33] + [30] * 5, [35]), 14: ([45] + [34] * 9, [43] * 2),
           15: ([50] + [40] * 17, [50] * 3)}


def lattigo(log_n, seconds):
    import numpy as np
    import pyhelayers as he

    q_bits, p_bits = LATTIGO[log_n]
    slots = 1 << (log_n - 1)
    need = he.HeConfigRequirement(num_slots=slots, multiplication_depth=1,
                                  fractional_part_precision=20, integer_part_precision=10)
    public = he.PublicFunctions()
    public.rotate = he.RotationSetType.CUSTOM_ROTATIONS
    public.set_rotation_steps(np.array([1], dtype=np.int32))
    need.public_functions = public
    ctx = he.LattigoContext()
    ctx.init(need)
    if (ctx.slot_count(), ctx.get_top_chain_index()) != (slots, len(q_bits) - 1):
        raise ValueError("HElayers chose another Lattigo preset")
    encoder = he.Encoder(ctx)
    encrypt = encoder.encrypt_tile

    def hmult():
        out = a.get_multiply_raw(b)
        out.relinearize()
        out.rescale_raw()
        return out

    def hrot():
        out = he.CTile(a)
        out.rotate(1)
        return out

    x, y, product, rotated = inputs(log_n)
    x, y = np.array(x), np.array(y)
    plain = encoder.encode(x)
    a, b = encrypt(plain), encrypt(encoder.encode(y))
    check(encoder.decrypt_decode_double(hmult()), product)
    check(encoder.decrypt_decode_double(hrot()), rotated)
    ms = time_all(seconds, hmult=hmult, hrot=hrot, encode=lambda: encoder.encode(x),
                  encrypt=lambda: encrypt(plain), decrypt=lambda: encoder.decrypt_decode_double(a))
    return report("Lattigo 4 (HElayers)", "pyhelayers", log_n, len(q_bits) - 1, ms,
                  {"ciphertext": len(a.save_to_buffer())}, sum(q_bits), sum(q_bits + p_bits))


WORKERS = {"tenseal": tenseal, "sealapi": sealapi, "openfhe": openfhe, "lattigo": lattigo}
