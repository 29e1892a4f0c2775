use super::{call, fails};

#[test]
fn password_is_checked_against_its_hash() {
    let source = "let hash = crypto::hash_password(\"tangerine\"); \
                  [hash.starts_with(\"$argon2id$v=19$m=19456,t=2,p=1$\"), crypto::check_password(\"tangerine\", hash), \
                  crypto::check_password(\"Tangerine\", hash)]";
    assert_eq!(call(source).text(), "[true,true,false]");
    // A vector of the reference implementation.
    let hash = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    assert_eq!(call(&format!("crypto::check_password(\"password\", \"{hash}\")")).text(), "true");
    let long = "let p = \"\"; p.pad(4097, 'x');";
    assert_eq!(call(&format!("{long} crypto::check_password(p, \"{hash}\")")).text(), "false");
    assert_eq!(
        fails(&format!("{long} crypto::hash_password(p)")),
        "crypto::hash_password: `text` is longer than 4096 bytes"
    );
}

#[test]
fn every_hash_has_its_own_salt() {
    let source = "[crypto::hash_password(\"a\"), crypto::hash_password(\"a\")]";
    let both = call(source).text();
    assert_eq!(both, call(source).text(), "the salt follows from the seed");
    let parts: Vec<&str> = both.split(['"', '$']).collect();
    assert_ne!(parts[5], parts[12], "{both}");
}

#[test]
fn costly_and_broken_hashes_are_refused() {
    let checked = |hash: &str| fails(&format!("crypto::check_password(\"a\", \"{hash}\")"));
    let (salt, tail) = ("c29tZXNhbHQ", "nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4");
    for params in [
        "m=4194304,t=1,p=1",
        "m=19456,t=1000,p=1",
        "m=65537,t=1,p=1",
        "m=8,t=4294967295,p=1",
        "m=512,t=1,p=64",
    ] {
        assert_eq!(
            checked(&format!("$argon2id$v=19${params}${salt}${tail}")),
            format!(
                "crypto::check_password: `hash` takes too much work: {params}; its memory times its passes must be at \
                 most 65536, and p at most 16"
            )
        );
    }
    for hash in [
        "",
        "tangerine",
        "$2b$12$abcdefghijklmnopqrstuv",
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ",
        &format!("$argon2i$v=19$m=256,t=2,p=1${salt}${tail}"),
        &format!("$argon2id$v=16$m=256,t=2,p=1${salt}${tail}"),
        &format!("$argon2id$v=19$m=0,t=2,p=1${salt}${tail}"),
        &format!("$argon2id$v=19$m=256,t=0,p=1${salt}${tail}"),
        &format!("$argon2id$v=19$m=256,t=2,p=0${salt}${tail}"),
        &format!("$argon2id$v=19$m=99999999999,t=2,p=1${salt}${tail}"),
        &format!("$argon2id$v=19$m=256,t=2,p=1,x=1${salt}${tail}"),
        &format!("$argon2id$v=19$m=256,t=2,p=1${salt}$"),
        &format!("$argon2id$v=19$m=256,t=2,p=1$${tail}"),
        &format!("$argon2id$v=19$m=256,t=2,p=1${salt}${tail}$"),
    ] {
        assert_eq!(
            checked(hash),
            "crypto::check_password: `hash` is not a hash of `crypto::hash_password`: it begins with $argon2id$v=19$",
            "{hash}"
        );
    }
}
