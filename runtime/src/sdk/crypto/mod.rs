//! `crypto`: hashes, signatures, passwords and sealed values.
//!
//! - [`hash`]: hashes and HMACs
//! - `password`: hashes of passwords
//! - `seal`: sealed values
//! - `jwt`: JSON Web Tokens; `public_key` reads the keys of others

pub(super) mod hash;
mod jwt;
mod password;
mod public_key;
mod seal;

use manifest_schema::sdk::SdkVersion;

use super::signature::{Function, Kinds, Parameter, SdkModule};

const DATA: Parameter = Parameter::new("data", Kinds::DATA);
const KEY: Parameter = Parameter::new("key", Kinds::DATA);
const TEXT: Parameter = Parameter::new("text", Kinds::TEXT);
const FORM: Parameter = Parameter::one_of("form", &["hex", "base64", "blob"]);

/// The module `crypto`.
pub(super) const MODULE: SdkModule = SdkModule {
    name: "crypto",
    since: SdkVersion::V1_3,
    summary: "Hashes, signatures, passwords and sealed values.",
    functions: &[
        Function {
            name: "sha256",
            parameters: &[DATA, FORM],
            required: 1,
            returns: "text or blob",
            summary: "The SHA-256 hash, in hexadecimal digits or another form.",
            errors: &[],
            run: |call| hash::digest(call, &ring::digest::SHA256),
        },
        Function {
            name: "sha512",
            parameters: &[DATA, FORM],
            required: 1,
            returns: "text or blob",
            summary: "The SHA-512 hash, in hexadecimal digits or another form.",
            errors: &[],
            run: |call| hash::digest(call, &ring::digest::SHA512),
        },
        Function {
            name: "sha1",
            parameters: &[DATA, FORM],
            required: 1,
            returns: "text or blob",
            summary: "The SHA-1 hash, for old protocols: it is broken as a signature.",
            errors: &[],
            run: |call| hash::digest(call, &ring::digest::SHA1_FOR_LEGACY_USE_ONLY),
        },
        Function {
            name: "hmac_sha256",
            parameters: &[KEY, DATA, FORM],
            required: 2,
            returns: "text or blob",
            summary: "The HMAC with SHA-256, in hexadecimal digits or another form.",
            errors: &[],
            run: hash::hmac,
        },
        Function {
            name: "equal",
            parameters: &[Parameter::new("a", Kinds::DATA), Parameter::new("b", Kinds::DATA)],
            required: 2,
            returns: "bool",
            summary: "Whether both have the same bytes; the time it takes does not tell where they differ.",
            errors: &[],
            run: hash::equal,
        },
        Function {
            name: "hash_password",
            parameters: &[TEXT],
            required: 1,
            returns: "text",
            summary: "The hash of a password to store (Argon2id), with a salt of its own.",
            errors: &["`text` is longer than 4096 bytes"],
            run: password::hash_password,
        },
        Function {
            name: "check_password",
            parameters: &[TEXT, Parameter::new("hash", Kinds::TEXT)],
            required: 2,
            returns: "bool",
            summary: "Whether a password is the one of a hash of `hash_password`.",
            errors: &[
                "`hash` is not a hash of `crypto::hash_password`: it begins with $argon2id$v=19$",
                "`hash` takes too much work: …",
            ],
            run: password::check_password,
        },
        Function {
            name: "seal",
            parameters: &[Parameter::new("value", Kinds::ANY)],
            required: 1,
            returns: "text",
            summary: "A value encrypted as a text that only this app can open; previews and production cannot open each other's.",
            errors: &[],
            run: seal::seal,
        },
        Function {
            name: "open",
            parameters: &[TEXT],
            required: 1,
            returns: "value or ()",
            summary: "The value of a sealed text; `()` if it was changed or another app sealed it.",
            errors: &[],
            run: seal::open,
        },
        Function {
            name: "jwt_sign",
            parameters: &[Parameter::new("claims", Kinds::MAP), KEY, Parameter::options(jwt::SIGN_OPTIONS)],
            required: 2,
            returns: "text",
            summary: "A JSON Web Token with these claims, signed with a secret.",
            errors: jwt::SIGN_ERRORS,
            run: jwt::sign,
        },
        Function {
            name: "jwt_verify",
            parameters: &[Parameter::new("token", Kinds::TEXT), KEY, Parameter::options(jwt::VERIFY_OPTIONS)],
            required: 2,
            returns: "map or ()",
            summary: "The claims of a JSON Web Token; `()` if its signature, its times, its audience or its issuer are wrong.",
            errors: jwt::VERIFY_ERRORS,
            run: jwt::verify,
        },
    ],
};
