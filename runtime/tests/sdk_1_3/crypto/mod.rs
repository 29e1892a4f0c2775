//! Hashes here; the other modules have the functions that their names say.

mod jwt;
mod password;
mod seal;

use super::{call, fails};

/// Vectors of FIPS 180-4, RFC 4231 and RFC 2202.
#[test]
fn hashes_have_their_published_values() {
    for (source, expected) in [
        ("sha1(\"abc\")", "a9993e364706816aba3e25717850c26c9cd0d89d"),
        ("sha256(\"\")", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("sha256(\"abc\")", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            "sha512(\"abc\")",
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ),
        (
            "hmac_sha256(\"Jefe\", \"what do ya want for nothing?\")",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            "hmac_sha256(blob(131, 0xaa), \"Test Using Larger Than Block-Size Key - Hash Key First\")",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
        (
            "hmac_sha256(blob(64, 0), \"\")",
            "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad",
        ),
    ] {
        assert_eq!(call(&format!("crypto::{source}")).text(), format!("\"{expected}\""), "{source}");
    }
}

#[test]
fn hashes_have_three_forms() {
    assert_eq!(call("crypto::sha1(\"abc\", \"base64\")").text(), "\"qZk+NkcGgWq6PiVxeFDCbJzQ2J0=\"");
    assert_eq!(
        call("hex::encode(crypto::sha1(\"abc\", \"blob\"))").text(),
        "\"a9993e364706816aba3e25717850c26c9cd0d89d\""
    );
    assert_eq!(call("crypto::sha1(\"abc\", \"hex\") == crypto::sha1(\"abc\".to_blob())").text(), "true");
    assert_eq!(call("crypto::hmac_sha256(\"k\", \"d\", \"blob\").len()").text(), "32");
    assert_eq!(
        fails("let form = \"hax\"; crypto::sha256(\"\", form)"),
        "crypto::sha256: `form` must be \"hex\" or \"base64\" or \"blob\", not \"hax\""
    );
    assert_eq!(
        fails("let key = ctx.schedule; crypto::hmac_sha256(key, \"\")"),
        "crypto::hmac_sha256: `key` must be a string or a blob, not nothing"
    );
}

#[test]
fn large_data_is_hashed_in_parts() {
    let source = "let b = blob(1000000, 0x61); crypto::sha256(b)";
    assert_eq!(call(source).text(), "\"cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0\"");
}

#[test]
fn equal_compares_bytes() {
    assert_eq!(
        call("[crypto::equal(\"abc\", \"abc\".to_blob()), crypto::equal(\"abc\", \"abd\"), crypto::equal(\"abc\", \"ab\"), crypto::equal(\"\", \"\")]").text(),
        "[true,false,false,true]"
    );
}
