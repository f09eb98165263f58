use super::*;

/// A file of any header.
fn file(version: u8, header: &str, values: &[u8]) -> Vec<u8> {
    let length = header.len() as u32;
    let length =
        if version == 1 { (length as u16).to_le_bytes().to_vec() } else { length.to_le_bytes().to_vec() };
    [MAGIC, &[version, 0], &length, header.as_bytes(), values].concat()
}

fn of(descr: &str, fortran: bool, shape: &str, values: &[u8]) -> Vec<u8> {
    let fortran = if fortran { "True" } else { "False" };
    file(1, &format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}   \n"), values)
}

fn error(bytes: &[u8]) -> NpyError {
    Tensor::read(bytes).unwrap_err()
}

#[test]
fn what_is_written_is_read() {
    for shape in [vec![], vec![3], vec![2, 3], vec![2, 3, 1, 4], vec![0, 5]] {
        let values: Vec<f64> = (0..shape.iter().product()).map(|i| i as f64 / 3.0).collect();
        let bytes = encode(&shape, values.iter().copied());
        assert_eq!((bytes.len() - 8 * values.len()) % 64, 0);
        assert_eq!(Tensor::read(&bytes[..]).unwrap(), Tensor { shape, values });
    }
}

#[test]
fn every_kind_of_number() {
    let two = [1.0, -2.0];
    let cases: [(&str, Vec<u8>); 8] = [
        ("<f2", vec![0x00, 0x3c, 0x00, 0xc0]),
        (">f4", [1f32.to_be_bytes(), (-2f32).to_be_bytes()].concat()),
        ("<f8", [1f64.to_le_bytes(), (-2f64).to_le_bytes()].concat()),
        ("|i1", vec![1, 254]),
        (">i2", vec![0, 1, 255, 254]),
        ("<i4", [1i32.to_le_bytes(), (-2i32).to_le_bytes()].concat()),
        ("<i8", [1i64.to_le_bytes(), (-2i64).to_le_bytes()].concat()),
        ("=f4", [1f32.to_le_bytes(), (-2f32).to_le_bytes()].concat()),
    ];
    for (descr, bytes) in cases {
        assert_eq!(Tensor::read(&of(descr, false, "(2,)", &bytes)[..]).unwrap().values, two, "{descr}");
    }
    for (descr, bytes, value) in [
        ("|u1", vec![255], 255.0),
        ("<u2", vec![255; 2], 65535.0),
        ("<u4", vec![255; 4], 4294967295.0),
        ("<u8", vec![255; 8], u64::MAX as f64),
    ] {
        assert_eq!(Tensor::read(&of(descr, false, "()", &bytes)[..]).unwrap().values, [value], "{descr}");
    }
}

#[test]
fn halves() {
    let cases = [
        (0x0001, 2f64.powi(-24)),
        (0x03ff, 1023.0 * 2f64.powi(-24)),
        (0x0400, 2f64.powi(-14)),
        (0x3555, 0.333_251_953_125),
        (0x7bff, 65504.0),
        (0xfc00, f64::NEG_INFINITY),
        (0x8000, 0.0),
    ];
    for (bits, value) in cases {
        assert_eq!(half(bits), value, "{bits:#x}");
    }
    assert!(half(0x7e00).is_nan());
}

#[test]
fn fortran_order_is_turned_around() {
    // [[[0, 1], [2, 3], [4, 5]], [[6, 7], [8, 9], [10, 11]]]
    let bytes = of("|u1", true, "(2, 3, 2)", &[0, 6, 2, 8, 4, 10, 1, 7, 3, 9, 5, 11]);
    let values: Vec<f64> = (0..12).map(f64::from).collect();
    assert_eq!(Tensor::read(&bytes[..]).unwrap().values, values);
}

#[test]
fn headers_as_others_write_them() {
    for header in [
        "{'shape': (1,), 'fortran_order': False, 'descr': '|u1'}",
        "{\"descr\":\"|u1\",\"fortran_order\":False,\"shape\":(1,)}",
        "  { 'descr' : '|u1' , 'fortran_order' : False , 'shape' : ( 1 , ) , }  \n",
    ] {
        for version in [1, 2, 3] {
            assert_eq!(Tensor::read(&file(version, header, &[7])[..]).unwrap().values, [7.0], "{header}");
        }
    }
}

#[test]
fn hostile_headers_are_refused() {
    assert!(matches!(error(b""), NpyError::Magic));
    assert!(matches!(error(b"PK\x03\x04 is a zip"), NpyError::Magic));
    assert!(matches!(error(b"\x93NUMPY"), NpyError::Magic));
    assert!(matches!(error(b"\x93NUMPY\x09\x00\x00\x00"), NpyError::Version(9, 0)));
    assert!(matches!(error(b"\x93NUMPY\x01\x00\x10"), NpyError::ShortHeader));
    assert!(matches!(error(b"\x93NUMPY\x01\x00\x10\x00{"), NpyError::ShortHeader));
    assert!(matches!(error(b"\x93NUMPY\x02\x00\xff\xff\xff\xff"), NpyError::LongHeader(0xffff_ffff)));
    for header in [
        "",
        "{",
        "{}",
        "[]",
        "{'descr': '<f8'}",
        "{'descr': '<f8', 'fortran_order': 1, 'shape': ()}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1.5,)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': 3}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999,)}",
        "{'descr': '<f8' 'fortran_order': False, 'shape': ()}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (), 'evil': __import__('os')}",
        "{'descr': [[[[[[', 'fortran_order': False, 'shape': ()}",
        "{'\u{e9}",
    ] {
        assert!(matches!(error(&file(1, header, &[0; 64])), NpyError::Header(_)), "{header}");
    }
}

#[test]
fn other_elements_are_refused() {
    for descr in ["|b1", "<c16", "|O", "<U3", "<M8[s]", "f4", "", "<f16", "<<f4", "\u{e9}f4"] {
        assert!(matches!(error(&of(descr, false, "(1,)", &[0; 64])), NpyError::Dtype(_)), "{descr}");
    }
    let record = "{'descr': [('a', '<f4'), ('b', '<i4')], 'fortran_order': False, 'shape': (1,)}";
    assert!(matches!(error(&file(1, record, &[0; 8])), NpyError::Dtype(d) if d.contains("'a'")));
}

#[test]
fn claims_of_size_are_checked() {
    for shape in ["(4294967296, 4294967296, 4294967296)", "(18446744073709551615, 2)", "(536870913,)"] {
        assert!(matches!(error(&of("<f8", false, shape, &[0; 8])), NpyError::Huge(_)), "{shape}");
    }
    for fortran in [false, true] {
        let none = Tensor::read(&of("<f8", fortran, "(9223372036854775807, 0)", &[])[..]).unwrap();
        assert!(none.values.is_empty());
    }
    // Allowed to be so large, but it is not: this must not take 4 GiB to find out.
    assert!(matches!(
        error(&of("<f8", true, "(536870912,)", &[0; 8])),
        NpyError::Short { got: 8, expected: 4_294_967_296 }
    ));
    assert!(matches!(error(&of("<f8", false, "(2,)", &[0; 17])), NpyError::Long(16)));
}

#[test]
fn no_prefix_or_damage_panics() {
    let whole = of("<f4", true, "(2, 3)", &[0x3f; 24]);
    for end in 0..whole.len() {
        assert!(Tensor::read(&whole[..end]).is_err(), "{end}");
    }
    for place in 0..whole.len() {
        for byte in [0, b'{', b'\'', b',', b'9', 0xff] {
            let mut bytes = whole.clone();
            bytes[place] = byte;
            let _ = Tensor::read(&bytes[..]);
        }
    }
}

#[test]
fn batches_are_cut_into_items() {
    let tensor = |shape: &[usize]| Tensor {
        shape: shape.to_vec(),
        values: (0..shape.iter().product()).map(|i| i as f64).collect(),
    };
    assert_eq!(tensor(&[2, 3]).items(&[3]), Some(vec![vec![0.0, 1.0, 2.0], vec![3.0, 4.0, 5.0]]));
    assert_eq!(tensor(&[1, 2]).items(&[1, 2]), Some(vec![vec![0.0, 1.0]]));
    assert_eq!(tensor(&[1, 1, 2]).items(&[1, 2]), Some(vec![vec![0.0, 1.0]]));
    assert_eq!(tensor(&[0, 3]).items(&[3]), Some(vec![]));
    for shape in [&[][..], &[6], &[3, 2], &[2, 1, 3], &[1, 2, 3]] {
        assert_eq!(tensor(shape).items(&[3]), None, "{shape:?}");
    }
}
