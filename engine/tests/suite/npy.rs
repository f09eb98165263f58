//! Files of NumPy: those that it writes are read, and hostile ones are refused.
use ndarray::ArrayD;
use pleura::npy::{ItemsError, NpyError, items, read, shape_text, to_bytes};

const MAGIC: &[u8] = b"\x93NUMPY";

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

/// `0/3, 1/3, 2/3, ..` in a shape.
fn counted_up(shape: &[usize]) -> ArrayD<f64> {
    let values = (0..shape.iter().product()).map(|i| i as f64 / 3.0).collect();
    ArrayD::from_shape_vec(shape, values).unwrap()
}

/// Elements of a file in standard order.
fn values(bytes: &[u8]) -> Vec<f64> {
    read(bytes).unwrap().iter().copied().collect()
}

fn error(bytes: &[u8]) -> NpyError {
    read(bytes).unwrap_err()
}

#[test]
fn what_is_written_is_read() {
    for shape in [vec![], vec![3], vec![2, 3], vec![2, 3, 1, 4], vec![0, 5]] {
        let array = counted_up(&shape);
        let bytes = to_bytes(array.view());
        assert_eq!((bytes.len() - 8 * array.len()) % 64, 0);
        assert_eq!(read(&bytes[..]).unwrap(), array);
        let turned = array.t();
        assert_eq!(read(&to_bytes(turned.view())[..]).unwrap(), turned);
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
        assert_eq!(values(&of(descr, false, "(2,)", &bytes)), two, "{descr}");
    }
    for (descr, bytes, value) in [
        ("|u1", vec![255], 255.0),
        ("<u2", vec![255; 2], 65535.0),
        ("<u4", vec![255; 4], 4294967295.0),
        ("<u8", vec![255; 8], u64::MAX as f64),
    ] {
        assert_eq!(values(&of(descr, false, "()", &bytes)), [value], "{descr}");
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
    let half = |bits: u16| values(&of("<f2", false, "()", &bits.to_le_bytes()))[0];
    for (bits, value) in cases {
        assert_eq!(half(bits), value, "{bits:#x}");
    }
    assert!(half(0x7e00).is_nan());
}

#[test]
fn fortran_order_is_turned_around() {
    // [[[0, 1], [2, 3], [4, 5]], [[6, 7], [8, 9], [10, 11]]]
    let bytes = of("|u1", true, "(2, 3, 2)", &[0, 6, 2, 8, 4, 10, 1, 7, 3, 9, 5, 11]);
    assert_eq!(values(&bytes), (0..12).map(f64::from).collect::<Vec<f64>>());
}

#[test]
fn headers_as_others_write_them() {
    for header in [
        "{'shape': (1,), 'fortran_order': False, 'descr': '|u1'}",
        "{\"descr\":\"|u1\",\"fortran_order\":False,\"shape\":(1,)}",
        "  { 'descr' : '|u1' , 'fortran_order' : False , 'shape' : ( 1 , ) , }  \n",
    ] {
        for version in [1, 2, 3] {
            assert_eq!(values(&file(version, header, &[7])), [7.0], "{header}");
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
        assert!(values(&of("<f8", fortran, "(1000000000, 0)", &[])).is_empty());
        let none = of("<f8", fortran, "(9223372036854775807, 9223372036854775807, 0)", &[]);
        assert!(matches!(error(&none), NpyError::Huge(_)));
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
        assert!(read(&whole[..end]).is_err(), "{end}");
    }
    for place in 0..whole.len() {
        for byte in [0, b'{', b'\'', b',', b'9', 0xff] {
            let mut bytes = whole.clone();
            bytes[place] = byte;
            let _ = read(&bytes[..]);
        }
    }
}

#[test]
fn deep_headers_take_no_time() {
    for (open, close) in [("[", "]"), ("(", ",)"), ("{1: ", "}")] {
        let deep = format!("{}1{}", open.repeat(1200), close.repeat(1200));
        let header = format!("{{'descr': {deep}, 'fortran_order': False, 'shape': ()}}");
        assert!(matches!(error(&file(2, &header, &[])), NpyError::Header(_) | NpyError::Dtype(_)));
    }
}

#[test]
fn items_have_a_batch_axis() {
    for (shape, item, batched) in [
        (&[2, 3][..], &[3][..], &[2, 3][..]),
        (&[3], &[3], &[1, 3]),
        (&[1, 2], &[1, 2], &[1, 1, 2]),
        (&[1, 1, 2], &[1, 2], &[1, 1, 2]),
        (&[], &[], &[1]),
    ] {
        assert_eq!(items(counted_up(shape), item).unwrap(), counted_up(batched), "{shape:?}");
    }
    for shape in [&[][..], &[6], &[3, 2], &[2, 1, 3], &[1, 2, 3]] {
        let error = items(counted_up(shape), &[3]).unwrap_err();
        assert_eq!(error, ItemsError::Shape { expected: vec![3], got: shape.to_vec() });
        let said = format!("it has shape {}; the network takes (3,), with", shape_text(shape));
        assert!(error.to_string().starts_with(&said), "{error}");
    }
    assert_eq!(items(counted_up(&[0, 2]), &[2]).unwrap_err(), ItemsError::Empty(vec![0, 2]));
}

#[test]
fn elements_are_finite() {
    let refused = |shape: &[usize], values: &[f64]| {
        items(ArrayD::from_shape_vec(shape, values.to_vec()).unwrap(), &[2]).unwrap_err()
    };
    let nan = refused(&[2, 2], &[1.0, 2.0, 3.0, f64::NAN]);
    assert_eq!(nan, ItemsError::NotFinite { item: 1, items: 2, element: 1, nan: true });
    assert_eq!(refused(&[2], &[f64::NEG_INFINITY, 0.0]).to_string(), "element 0 of item 0 of 1 is infinite");
}
