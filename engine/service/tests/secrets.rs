//! A server reaches no code that handles secret keys: the linker leaves out what a program cannot reach, so the names of
//! functions in a program that serves and does nothing else show what a server could call. It does not show that a client's
//! program keeps its key to itself, and says nothing about machine code without a name.

use pleura_service::client::ServiceClient;
use std::fs;

/// Types of secrets, and modules of clients, as they are part of the names of functions.
const SECRETS: [&str; 8] = [
    "9SecretKey",
    "9ClientKey",
    "13ItemEncryptor",
    "13ItemDecryptor",
    "11pleura_ckks6client",
    "9pleura_nn6client",
    "6remote10client_key",
    "14pleura_service6client",
];

fn has(program: &[u8], name: &str) -> bool {
    program.windows(name.len()).any(|window| window == name.as_bytes())
}

#[test]
#[cfg_attr(debug_assertions, ignore = "debug information names what is not linked, too")]
#[cfg_attr(not(target_os = "linux"), ignore = "symbols are looked for in ELF files")]
fn no_secret_key_is_reachable_from_a_server() {
    let server = fs::read(env!("CARGO_BIN_EXE_server-only")).unwrap();
    assert!(has(&server, "14pleura_service6server"), "the program has symbols");
    for name in SECRETS {
        assert!(!has(&server, name), "a server reaches {name}");
    }
    // Programs of clients do have these names: the search finds what is there.
    let key = pleura::remote::ClientKey::generate;
    let encrypt = pleura::remote::ItemEncryptor::<'_, Vec<u8>>::new;
    let connect = ServiceClient::models;
    std::hint::black_box((
        key as fn(pleura::remote::ClientBundle) -> _,
        encrypt as fn(_, _) -> _,
        connect as fn(&_) -> _,
    ));
    let client = fs::read(std::env::current_exe().unwrap()).unwrap();
    for name in
        ["9SecretKey", "9ClientKey", "13ItemEncryptor", "11pleura_ckks6client", "14pleura_service6client"]
    {
        assert!(has(&client, name), "{name} is not found where it is");
    }
}
