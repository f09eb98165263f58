//! Bytes for whatever is stored or sent.
//!
//! An object is a header and a body, little-endian throughout. The header: the magic `PLEU`, the version (u16), the
//! kind (u8), a zero (u8), the 32-byte hash of the parameters. The bodies:
//!
//! | kind | object | body |
//! |---|---|---|
//! | 1 | [`Params`] | `log_n`, `levels`, `scale_bits`, `base_bits`, `digit_limbs`, security in units of 64 bits, plus 16 in a conjugate-invariant ring (u8 each) |
//! | 2 | [`Ciphertext`] | level (u8), scale (f64), `log_slots`, parts, seeded (u8 each); the parts, the last one as its seed if seeded |
//! | 3 | [`PublicKey`] | the seed of `a`; `b` |
//! | 4 | [`SwitchingKey`] | level (u8); its rows |
//! | 5 | [`EvaluationKeys`] | their number (u32); of each the exponent of its automorphism (u32; 0 for the relinearization key) and its level (u8), exponents increasing; the rows of each |
//! | 6 | [`SecretKey`] | its seed |
//! | 7 | [`KeyRequest`] | number of keys (u32); the exponent (u32) and level (u8) of each, as for evaluation keys |
//! | 16, 17, 18 | client specification, server plan, plan | see `pleura-nn`, which reads and writes them with [`open`] and [`seal`] |
//! | 19 to 23 | client bundle, secret key and evaluation keys of a client, encrypted items and results | see `pleura`, module `remote` |
//!
//! Versions count for each kind: 2 of the kinds 2 to 5, whose seeds stand for other words than in version 1, and 1 of all others.
//!
//! Rows are the seed of every `a`, then every `b`. A seed has 32 bytes, and stands for what
//! [`Poly::uniform`] makes of it. A polynomial is its limbs; a limb is a string
//! of bits, lowest first, in which each of the `n` residues takes as many bits as its prime has. `n` is a multiple
//! of 32, so a limb fills its bytes: there is no padding. What can be parsed has one encoding only.
//!
//! Bytes come from strangers: the length follows from the parameters and the first few fields, and nothing is
//! allocated before it was found right, so that an object takes memory in proportion to the bytes received; every
//! residue and field is checked. There is no way to read an object other than these checks.

pub use crate::object_kind::ObjectKind;

use crate::objects::{Ciphertext, EvaluationKeys, KeyRequest, PublicKey, SwitchingKey};
use crate::residues::{poly_len, put_poly, unpack};
use crate::wire_error::WireError;
use crate::{Params, ParamsError, ParamsLiteral, SecretKey, Security};
use pleura_ring::sample::Seed;
use pleura_ring::{Gadget, GaloisElement, Limbs, Ntt, Poly, RingKind};
use rayon::prelude::*;
use zeroize::Zeroizing;

const MAGIC: [u8; 4] = *b"PLEU";
const HEADER_LEN: u64 = 40;
const SEED_LEN: u64 = 32;
/// Addend of a parameter set's last byte, which releases that know cyclotomic rings alone refuse.
const CONJUGATE_INVARIANT: u32 = 16;

/// An object of another crate: the hash of its parameters, and the bytes after the header.
#[derive(Clone, Copy, Debug)]
pub struct Opened<'a> {
    /// Hash of the parameters that the object was made under.
    pub params_hash: [u8; 32],
    /// Bytes after the header.
    pub body: &'a [u8],
}

/// Checks the header of an object of another crate.
///
/// # Errors
/// [`WireError::BadMagic`], [`WireError::UnsupportedVersion`], [`WireError::WrongKind`], [`WireError::Length`],
/// [`WireError::BadField`]
pub fn open(kind: ObjectKind, bytes: &[u8]) -> Result<Opened<'_>, WireError> {
    let (reader, params_hash) = Reader::open(bytes, kind)?;
    Ok(Opened { params_hash, body: reader.rest })
}

/// An object of another crate: a header, then `body`.
pub fn seal(kind: ObjectKind, params: &Params, body: &[u8]) -> Vec<u8> {
    let mut out = header(kind, params, HEADER_LEN + body.len() as u64);
    out.extend(body);
    out
}

impl Params {
    /// Length of [`Params::to_bytes`].
    pub const ENCODED_LEN: u64 = HEADER_LEN + 6;

    /// The literal and the hash of what it leads to.
    pub fn to_bytes(&self) -> Vec<u8> {
        let ParamsLiteral { ring, log_n, levels, scale_bits, base_bits, digit_limbs, security } =
            *self.literal();
        let mut out = header(ObjectKind::Params, self, Self::ENCODED_LEN);
        let kind = match ring {
            RingKind::Cyclotomic => 0,
            RingKind::ConjugateInvariant => CONJUGATE_INVARIANT,
        };
        let security = security.bits() / 64 + kind;
        out.extend(
            [log_n, levels as u32, scale_bits, base_bits, digit_limbs as u32, security].map(|x| x as u8),
        );
        out
    }

    /// Derives the parameters and compares their hash, which catches releases that would derive others.
    ///
    /// The work of [`Params::new`], hundreds of megabytes at the largest degree, follows from a few bytes. For parameters from an
    /// untrusted source, check [`ParamsLiteral::from_bytes`] first.
    ///
    /// # Errors
    /// [`WireError`]; [`WireError::InsecureParams`] for [`Security::InsecureForTests`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        if ParamsLiteral::from_bytes(bytes)?.security == Security::InsecureForTests {
            return Err(WireError::InsecureParams);
        }
        Self::from_bytes_allow_insecure(bytes)
    }

    /// Reads parameters, and accepts insecure ones, for tests.
    ///
    /// # Errors
    /// [`WireError`]
    pub fn from_bytes_allow_insecure(bytes: &[u8]) -> Result<Self, WireError> {
        let (_, hash) = Reader::open(bytes, ObjectKind::Params)?;
        let params = Self::new(ParamsLiteral::from_bytes(bytes)?)?;
        if *params.hash() == hash { Ok(params) } else { Err(WireError::ParamsMismatch) }
    }
}

impl ParamsLiteral {
    /// Reads the literal that [`Params::from_bytes`] would check.
    ///
    /// # Errors
    /// [`WireError`]
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let (mut reader, _) = Reader::open(bytes, ObjectKind::Params)?;
        reader.expect_total(Params::ENCODED_LEN)?;
        let [log_n, levels, scale_bits, base_bits, digit_limbs, security] = (*reader.array()?).map(u32::from);
        let bad_security =
            WireError::BadField { field: "security / 64", value: security.into(), min: 2, max: 4 };
        let (ring, security) = match security.checked_sub(CONJUGATE_INVARIANT) {
            Some(security) => (RingKind::ConjugateInvariant, security),
            None => (RingKind::Cyclotomic, security),
        };
        let security = Security::from_bits(64 * security).ok_or(bad_security)?;
        let levels = levels as usize;
        let digit_limbs = digit_limbs as usize;
        Ok(Self { ring, log_n, levels, scale_bits, base_bits, digit_limbs, security })
    }
}

impl Ciphertext {
    /// Length of [`Ciphertext::to_bytes`]. A ciphertext made with the secret key is seeded until it is computed on.
    ///
    /// # Panics
    /// If there is no such level.
    pub fn encoded_len(params: &Params, level: usize, parts: usize, seeded: bool) -> u64 {
        let polys = (parts as u64).saturating_sub(seeded.into());
        let seed = if seeded { SEED_LEN } else { 0 };
        HEADER_LEN + 12 + seed + polys * poly_len(params, params.limbs(level))
    }

    /// Serializes the ciphertext. (A ciphertext whose scale exceeds its modulus cannot be decrypted, and is not read back.)
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self { params, level, scale, log_slots, parts, seeded } = self;
        let len = Self::encoded_len(params, *level, self.parts(), seeded.is_some());
        let mut out = header(ObjectKind::Ciphertext, params, len);
        out.push(*level as u8);
        out.extend(scale.to_le_bytes());
        out.extend([*log_slots as u8, self.parts() as u8, seeded.is_some().into()]);
        for part in parts {
            put_poly(&mut out, params, part);
        }
        out.extend(seeded.iter().flat_map(|seeded| seeded.seed().as_bytes()));
        out
    }

    /// Reads a ciphertext.
    ///
    /// # Errors
    /// [`WireError`]
    pub fn from_bytes(bytes: &[u8], params: &Params) -> Result<Self, WireError> {
        let mut reader = Reader::open_for(bytes, ObjectKind::Ciphertext, params)?;
        let level = reader.level(params)?;
        let scale = f64::from_le_bytes(*reader.array()?);
        let log2_q = params.log2_q(level);
        if !(0.0..=log2_q).contains(&scale.log2()) {
            return Err(WireError::BadScale { scale, log2_q });
        }
        let log_slots = reader.number("log_slots", 0, params.max_log_slots().into())? as u32;
        let count = reader.number("parts", 2, 3)? as usize;
        // Only what was just encrypted is seeded, and that has two parts.
        let seeded = reader.number("seeded", 0, if count == 2 { 1 } else { 0 })? == 1;
        reader.expect_total(Self::encoded_len(params, level, count, seeded))?;

        let limbs = params.limbs(level);
        let mut parts = Vec::with_capacity(count);
        for _ in 0..count - usize::from(seeded) {
            parts.push(reader.poly(params, limbs)?);
        }
        let seed = seeded.then(|| reader.seed()).transpose()?;
        let seeded = seed.map(|seed| Self::uniform(params, seed, level));
        Ok(Self { params: params.clone(), level, scale, log_slots, parts, seeded })
    }
}

impl PublicKey {
    /// Length of [`PublicKey::to_bytes`].
    pub fn encoded_len(params: &Params) -> u64 {
        HEADER_LEN + SEED_LEN + poly_len(params, params.limbs(params.max_level()))
    }

    /// Serializes the public key.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = header(ObjectKind::PublicKey, &self.params, Self::encoded_len(&self.params));
        out.extend(self.seed.as_bytes());
        put_poly(&mut out, &self.params, &self.b);
        out
    }

    /// Reads a public key.
    ///
    /// # Errors
    /// [`WireError`]
    pub fn from_bytes(bytes: &[u8], params: &Params) -> Result<Self, WireError> {
        let mut reader = Reader::open_for(bytes, ObjectKind::PublicKey, params)?;
        reader.expect_total(Self::encoded_len(params))?;
        let seed = reader.seed()?;
        let b = reader.poly(params, params.limbs(params.max_level()))?;
        Ok(Self { params: params.clone(), b, a: Self::draw(params, &seed), seed })
    }
}

impl SwitchingKey {
    /// Length of [`SwitchingKey::to_bytes`].
    ///
    /// # Panics
    /// If there is no such level.
    pub fn encoded_len(params: &Params, level: usize) -> u64 {
        HEADER_LEN + 1 + Self::rows_len(params, level)
    }

    /// Serializes the keys.
    pub fn to_bytes(&self) -> Vec<u8> {
        let len = Self::encoded_len(&self.params, self.level);
        let mut out = header(ObjectKind::SwitchingKey, &self.params, len);
        out.push(self.level as u8);
        self.put_rows(&mut out);
        out
    }

    /// Reads a switching key.
    ///
    /// # Errors
    /// [`WireError`]
    pub fn from_bytes(bytes: &[u8], params: &Params) -> Result<Self, WireError> {
        let mut reader = Reader::open_for(bytes, ObjectKind::SwitchingKey, params)?;
        let level = reader.key_level(params)?;
        reader.expect_total(Self::encoded_len(params, level))?;
        Self::read_rows(&mut reader, params, level)
    }

    /// Length of the rows of a key.
    pub(crate) fn rows_len(params: &Params, level: usize) -> u64 {
        let gadget = params.gadget(level);
        SEED_LEN + gadget.digits() as u64 * poly_len(params, gadget.limbs)
    }

    /// The seed of rows, and the bytes of each `b`.
    pub(crate) fn split_rows<'a>(
        bytes: &'a [u8],
        params: &Params,
        gadget: Gadget,
    ) -> Result<(Seed, Vec<&'a [u8]>), WireError> {
        let mut reader = Reader { rest: bytes, total: bytes.len() };
        let seed = reader.seed()?;
        let len = poly_len(params, gadget.limbs);
        let polys = (0..gadget.digits()).map(|_| reader.take(len)).collect::<Result<_, _>>()?;
        Ok((seed, polys))
    }

    fn put_rows(&self, out: &mut Vec<u8>) {
        out.extend(self.seed.as_bytes());
        for (b, _) in &self.rows {
            put_poly(out, &self.params, b);
        }
    }

    fn read_rows(reader: &mut Reader<'_>, params: &Params, level: usize) -> Result<Self, WireError> {
        let gadget = params.gadget(level);
        let seed = reader.seed()?;
        let rows = (0..gadget.digits())
            .map(|d| Ok((reader.poly(params, gadget.limbs)?, Self::uniform(&seed, gadget.limbs, d))))
            .collect::<Result<_, WireError>>()?;
        Ok(Self { params: params.clone(), level, rows, seed })
    }
}

impl EvaluationKeys {
    /// Length of [`EvaluationKeys::to_bytes`] for the keys of a request, before they are made.
    ///
    /// # Panics
    /// If there is no such level.
    pub fn encoded_len(params: &Params, request: &KeyRequest) -> u64 {
        let levels = request.relin.iter().chain(request.galois.values());
        Self::table_len(request) + levels.map(|&level| SwitchingKey::rows_len(params, level)).sum::<u64>()
    }

    /// Length of the header and the table of keys.
    pub(crate) fn table_len(request: &KeyRequest) -> u64 {
        HEADER_LEN + 4 + 5 * request.count() as u64
    }

    /// Reads the header and the table of keys.
    pub(crate) fn read_table(bytes: &[u8], params: &Params) -> Result<KeyRequest, WireError> {
        KeyRequest::read(&mut Reader::open_for(bytes, ObjectKind::EvaluationKeys, params)?, params)
    }

    /// Their bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let request = self.request();
        let mut out =
            header(ObjectKind::EvaluationKeys, &self.params, Self::encoded_len(&self.params, &request));
        request.put(&mut out);
        self.relin.iter().chain(self.galois.values()).for_each(|key| key.put_rows(&mut out));
        out
    }

    /// Reads evaluation keys.
    ///
    /// # Errors
    /// [`WireError`]
    pub fn from_bytes(bytes: &[u8], params: &Params) -> Result<Self, WireError> {
        let mut reader = Reader::open_for(bytes, ObjectKind::EvaluationKeys, params)?;
        let request = KeyRequest::read(&mut reader, params)?;
        reader.expect_total(Self::encoded_len(params, &request))?;

        let relin =
            request.relin.map(|level| SwitchingKey::read_rows(&mut reader, params, level)).transpose()?;
        // Residues are unpacked on all threads.
        let bytes = request
            .galois
            .into_iter()
            .map(|(g, level)| Ok((g, level, reader.take(SwitchingKey::rows_len(params, level))?)));
        let bytes: Vec<_> = bytes.collect::<Result<_, WireError>>()?;
        let galois = bytes.into_par_iter().map(|(g, level, bytes)| {
            let mut reader = Reader { rest: bytes, total: bytes.len() };
            Ok((g, SwitchingKey::read_rows(&mut reader, params, level)?))
        });
        Ok(Self { params: params.clone(), relin, galois: galois.collect::<Result<_, WireError>>()? })
    }
}

impl KeyRequest {
    /// The request as bytes.
    pub fn to_bytes(&self, params: &Params) -> Vec<u8> {
        let mut out = header(ObjectKind::KeyRequest, params, HEADER_LEN + 4 + 5 * self.count() as u64);
        self.put(&mut out);
        out
    }

    /// Reads a request.
    ///
    /// # Errors
    /// [`WireError`]; levels at which a key would be less secure than the parameters claim are refused.
    pub fn from_bytes(bytes: &[u8], params: &Params) -> Result<Self, WireError> {
        let mut reader = Reader::open_for(bytes, ObjectKind::KeyRequest, params)?;
        let request = Self::read(&mut reader, params)?;
        reader.expect_total(HEADER_LEN + 4 + 5 * request.count() as u64)?;
        Ok(request)
    }

    /// The table of exponents and levels, the relinearization key first as exponent 0.
    fn put(&self, out: &mut Vec<u8>) {
        let galois = self.galois.iter().map(|(g, &level)| (g.exponent(), level));
        out.extend((self.count() as u32).to_le_bytes());
        for (exponent, level) in self.relin.iter().map(|&level| (0, level)).chain(galois) {
            out.extend(exponent.to_le_bytes());
            out.push(level as u8);
        }
    }

    fn read(reader: &mut Reader<'_>, params: &Params) -> Result<Self, WireError> {
        let mut request = Self::new();
        let mut last = None;
        for _ in 0..u32::from_le_bytes(*reader.array()?) {
            let exponent = u32::from_le_bytes(*reader.array()?);
            let level = reader.key_level(params)?;
            let increasing = last.is_none_or(|last| last < exponent);
            last = Some(exponent);
            request = match params.ring().galois(exponent) {
                None if exponent == 0 && increasing => request.relin(level),
                Some(g) if g != GaloisElement::IDENTITY && increasing => request.galois(g, level),
                _ => return Err(WireError::BadExponent { exponent }),
            };
        }
        Ok(request)
    }
}

impl SecretKey {
    /// Serializes the seed. The bytes are as secret as the key: they are erased when dropped, and stored copies need protection
    /// from other readers.
    pub fn to_secret_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(header(ObjectKind::SecretKey, self.params(), HEADER_LEN + SEED_LEN));
        out.extend_from_slice(self.seed().as_bytes());
        out
    }

    /// Makes the key of its seed. Erasing `bytes` is the caller's duty.
    ///
    /// # Errors
    /// [`WireError`]
    pub fn from_secret_bytes(bytes: &[u8], params: &Params) -> Result<Self, WireError> {
        let mut reader = Reader::open_for(bytes, ObjectKind::SecretKey, params)?;
        reader.expect_total(HEADER_LEN + SEED_LEN)?;
        Ok(Self::from_seed(params, reader.seed()?))
    }
}

/// The header of an object, with room for the `len` bytes of all of it.
fn header(kind: ObjectKind, params: &Params, len: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(len as usize);
    out.extend(MAGIC);
    out.extend(kind.version().to_le_bytes());
    out.extend([kind as u8, 0]);
    out.extend(params.hash());
    out
}

fn kind_name(code: u8) -> &'static str {
    let known = ObjectKind::ALL.into_iter().find(|&kind| kind as u8 == code);
    known.map_or("an unknown kind of object", ObjectKind::name)
}

/// Unread bytes.
struct Reader<'a> {
    rest: &'a [u8],
    total: usize,
}

impl<'a> Reader<'a> {
    /// Checks the header; the hash is the caller's to compare.
    fn open(bytes: &'a [u8], kind: ObjectKind) -> Result<(Self, [u8; 32]), WireError> {
        let mut reader = Self { rest: bytes, total: bytes.len() };
        if *reader.array()? != MAGIC {
            return Err(WireError::BadMagic);
        }
        let version = u16::from_le_bytes(*reader.array()?);
        let &[got] = reader.array()?;
        if got != kind as u8 {
            return Err(WireError::WrongKind { expected: kind.name(), got: kind_name(got) });
        }
        let supported = kind.version();
        if version != supported {
            return Err(WireError::UnsupportedVersion { kind: kind.name(), got: version, supported });
        }
        reader.number("the reserved byte", 0, 0)?;
        let hash = *reader.array()?;
        Ok((reader, hash))
    }

    fn open_for(bytes: &'a [u8], kind: ObjectKind, params: &Params) -> Result<Self, WireError> {
        let (reader, hash) = Self::open(bytes, kind)?;
        if hash == *params.hash() { Ok(reader) } else { Err(WireError::ParamsMismatch) }
    }

    fn expect_total(&self, expected: u64) -> Result<(), WireError> {
        let got = self.total as u64;
        if got == expected { Ok(()) } else { Err(WireError::Length { expected, got }) }
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], WireError> {
        let split = usize::try_from(count).ok().and_then(|count| self.rest.split_at_checked(count));
        let used = (self.total - self.rest.len()) as u64;
        let (taken, rest) =
            split.ok_or(WireError::Length { expected: used + count, got: self.total as u64 })?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], WireError> {
        let used = self.total - self.rest.len();
        let too_short = WireError::Length { expected: (used + N) as u64, got: self.total as u64 };
        let (array, rest) = self.rest.split_first_chunk().ok_or(too_short)?;
        self.rest = rest;
        Ok(array)
    }

    fn number(&mut self, field: &'static str, min: u64, max: u64) -> Result<u64, WireError> {
        let value = u64::from(u8::from_le_bytes(*self.array()?));
        let fits = (min..=max).contains(&value);
        if fits { Ok(value) } else { Err(WireError::BadField { field, value, min, max }) }
    }

    fn level(&mut self, params: &Params) -> Result<usize, WireError> {
        Ok(self.number("level", 0, params.max_level() as u64)? as usize)
    }

    fn key_level(&mut self, params: &Params) -> Result<usize, WireError> {
        let level = self.level(params)?;
        if SwitchingKey::is_secure(params, level) {
            return Ok(level);
        }
        let &ParamsLiteral { log_n, security, .. } = params.literal();
        let log2_qp = params.log2_qp(level);
        let max = security.max_log2_qp(log_n);
        Err(ParamsError::Insecure { log_n, log2_qp, max, security }.into())
    }

    fn seed(&mut self) -> Result<Seed, WireError> {
        Ok(Seed::from_bytes(self.array()?))
    }

    fn poly(&mut self, params: &Params, limbs: Limbs) -> Result<Poly<Ntt>, WireError> {
        let bytes = self.take(poly_len(params, limbs))?;
        let mut out = Poly::zero(params.ring(), limbs);
        out.limbs_mut().enumerate().try_for_each(|(i, (_, limb))| unpack(params, limbs, bytes, i, limb))?;
        Ok(out)
    }
}
