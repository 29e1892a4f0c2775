use super::{call, fails};

const RSA_KEY: &str = "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAjAkr0Mm8urm8erCJ4UCC\nmd9BB4BzCs/d4rNwSiHgJlXjBE7NVdewVYRsR1z5ej9ND+5OMta9UOZc+tsMKT/b\nAMAF6Qi835ISV0UWjqQltox8PrQ62OlUkCyE8xofVprkNDp4uPzRKu51GpN2/V5i\nIEiHOG7AAtxQePok+Gi13HTHBTvMVCObbCDYpS4fFJIRVP9WTFm/xmqnYBYtRg4A\nLUqyJMp9/7777YIxlCBr6O9HEHhi9y5Cblh8JJbnys5pxAMOpo7rNh6Kn6blZ3c5\nK8QDxINWfd7/AYvTW1uL4YsQ2Wia46IooPpgckMT6sAyEkCnpsVUfWxX9qNIpSyL\nVQIDAQAB\n-----END PUBLIC KEY-----";
const RSA_TOKEN: &str = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhZGEifQ.PvU6YegTsGLTZw2_r3KUfDyQyAZm-IIMjOG2HcvFu6A1BO2Em5e3n1Phrg7_WYHxmxCzaeRzmZ6EKzvWHjKAyM1dD6ejURFB88ncLT5FFFNSTthNFZ2oytfp3HvYlJrv2xCpCZv03jE3jBxrLatZMmFmDCvhqHLUsNtIvn8WFMX1gh57xLm5WWGbuRQyp5lqGOpQDrOrx1amI7_NVe-JSAob8JOQP5W7Rs--mWqWBF9BZlRIsN_4vCtKu2ub7-SEUWhvwE9Zc1C-Xw0GnFZYR3k8zsA5eGpRII6hF7PZqNa6n5PfSkpYn6AuUicSu6dX4ikS5X889zMBHALB27Wz7Q";
const EC_KEY: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEwLwI4anvIJXvrGqIQ6TbBUFELM/H\nZINvHKqhpsQiMYb9SfzN9NmCZ8ZrMhi7uJDnxf5eiLy0dN1nyuZ2SacHWQ==\n-----END PUBLIC KEY-----";
const EC_TOKEN: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhZGEifQ.Us9-H1wIIexq5TkS6TTXGAGH9DnbiuU6Q0R6ac3HvgPM17orw4fNUdIEiwRgWDfX9IvgOvCkmrfsgzCbpmKswA";
const ED_KEY: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA+2hnlTOLEBzdhKRTfT56IQZNMxNyvMCo4lNto6P+5OE=\n-----END PUBLIC KEY-----";
const ED_TOKEN: &str = "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhZGEifQ.41hdQlBJVxNm-Cn4UoxrtGgO3LuxfvWLrqSECOAW-0Ai4t_gqXLXJXUlLeqt-Drywogxx4TZMfncccpwmK_FCA";

/// The token of these parts in JSON, signed with `secret` and HS256.
fn token(header: &str, claims: &str) -> String {
    let source = format!(
        "let t = base64::encode_url(`{header}`) + \".\" + base64::encode_url(`{claims}`); \
         t + \".\" + base64::encode_url(crypto::hmac_sha256(\"secret\", t, \"blob\"))"
    );
    call(&source).text().trim_matches('"').to_owned()
}

fn verified(token: &str, rest: &str) -> String {
    call(&format!("crypto::jwt_verify(\"{token}\", {rest})")).text()
}

#[test]
fn signed_tokens_are_verified() {
    assert_eq!(
        call("crypto::jwt_sign(#{ sub: \"1234567890\", name: \"John Doe\", iat: 1516239022 }, \"your-256-bit-secret\")").text(),
        "\"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpYXQiOjE1MTYyMzkwMjIsIm5hbWUiOiJKb2huIERvZSIsInN1YiI6IjEyMzQ1Njc4OTAifQ.fdOPQ05ZfRhkST2-rIWgUpbqUsVhkkNVNcuG7Ki0s-8\"",
    );
    for alg in ["HS256", "HS384", "HS512"] {
        let source = format!(
            "let o = #{{ alg: \"{alg}\" }}; let t = crypto::jwt_sign(#{{ sub: \"ada\" }}, \"k\", o); \
             [crypto::jwt_verify(t, \"k\", o), crypto::jwt_verify(t, \"other\", o), crypto::jwt_verify(t + \"A\", \"k\", o)]"
        );
        assert_eq!(call(&source).text(), r#"[{"sub":"ada"},null,null]"#, "{alg}");
    }
    let other = "crypto::jwt_verify(crypto::jwt_sign(#{}, \"k\"), \"k\", #{ alg: \"HS512\" })";
    assert_eq!(call(other).text(), "null");
}

#[test]
fn public_keys_verify() {
    for (alg, key, token) in
        [("RS256", RSA_KEY, RSA_TOKEN), ("ES256", EC_KEY, EC_TOKEN), ("EdDSA", ED_KEY, ED_TOKEN)]
    {
        let key = key.replace('\n', "\\n");
        assert_eq!(
            verified(token, &format!("\"{key}\", #{{ alg: \"{alg}\" }}")),
            r#"{"sub":"ada"}"#,
            "{alg}"
        );
        let changed = token.replacen("JhZGEi", "JhZGMi", 1);
        assert_eq!(verified(&changed, &format!("\"{key}\", #{{ alg: \"{alg}\" }}")), "null", "{alg}");
        let failure = fails(&format!("crypto::jwt_verify(\"{token}\", \"{key}\")"));
        assert_eq!(
            failure,
            "crypto::jwt_verify: `key` is a public or private key, but HS256 takes a secret; `crypto::jwt_verify` \
             takes public keys with `alg: \"RS256\"`, `\"ES256\"` or `\"EdDSA\"`"
        );
    }
}

#[test]
fn wrong_keys_are_errors() {
    let message = |rest: &str| {
        let message = fails(&format!("crypto::jwt_verify(\"a.b.c\", {rest})"));
        message.strip_prefix("crypto::jwt_verify: ").unwrap().to_owned()
    };
    assert_eq!(message("\"\""), "`key` is empty");
    assert_eq!(
        message("\"secret\", #{ alg: \"RS256\" }"),
        "`key` must be a public key in PEM, which begins with -----BEGIN PUBLIC KEY-----"
    );
    let ec = EC_KEY.replace('\n', "\\n");
    assert_eq!(
        message(&format!("\"{ec}\", #{{ alg: \"RS256\" }}")),
        "`key` is an EC key on P-256, but RS256 takes an RSA key"
    );
    assert_eq!(
        message("\"-----BEGIN PRIVATE KEY-----\\nAAAA\\n-----END PRIVATE KEY-----\", #{ alg: \"EdDSA\" }"),
        "`key` is a private key, which does not belong here; take its public key by `openssl pkey -pubout`"
    );
    assert_eq!(
        message("\"-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----\", #{ alg: \"RS256\" }"),
        "`key` is a certificate; take its key by `openssl x509 -pubkey -noout`"
    );
    for broken in ["AAAA", "!", ""] {
        let key = format!(
            "\"-----BEGIN PUBLIC KEY-----\\n{broken}\\n-----END PUBLIC KEY-----\", #{{ alg: \"EdDSA\" }}"
        );
        assert!(message(&key).starts_with("`key` is not a valid public key"), "{broken}");
    }
    assert_eq!(fails("crypto::jwt_sign(#{}, \"\")"), "crypto::jwt_sign: `key` is empty");
    assert!(fails(&format!("crypto::jwt_sign(#{{}}, \"{ec}\")")).contains("HS256 takes a secret"));
    assert_eq!(
        fails("let k = \"k\"; k.pad(16385, 'k'); crypto::jwt_verify(\"\", k)"),
        "crypto::jwt_verify: `key` is longer than 16384 bytes"
    );
    assert_eq!(
        fails("crypto::jwt_sign(#{ f: || 1 }, \"k\")"),
        "crypto::jwt_sign: a function cannot be converted to JSON"
    );
    assert!(
        fails("let o = #{ alg: \"none\" }; crypto::jwt_verify(\"\", \"k\", o)")
            .contains("`alg` must be \"HS256\"")
    );
}

#[test]
fn the_token_does_not_choose_the_algorithm() {
    let right = token(r#"{"alg":"HS256"}"#, r#"{"sub":"ada"}"#);
    assert_eq!(verified(&right, "\"secret\""), r#"{"sub":"ada"}"#);
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"HS384"}"#,
        r#"{"alg":"hs256"}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"typ":"JWT"}"#,
        r#"{"alg":"HS256","crit":["exp"]}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        "[]",
        "{",
    ] {
        assert_eq!(verified(&token(header, r#"{"sub":"ada"}"#), "\"secret\""), "null", "{header}");
    }
    let [header, claims, signature] = right.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    for wrong in [
        String::new(),
        "..".to_owned(),
        format!("{header}.{claims}"),
        format!("{header}.{claims}."),
        format!("{header}.{claims}.{signature}="),
        format!("{header}.{claims}.{signature}.{signature}"),
        format!(" {right}"),
        format!("{header}.{claims}.é"),
        right.replace('.', " ."),
    ] {
        assert_eq!(verified(&wrong, "\"secret\""), "null", "{wrong}");
    }
    assert_eq!(verified(&token(r#"{"alg":"HS256"}"#, "[1]"), "\"secret\""), "null");
    assert_eq!(verified(&token(r#"{"alg":"HS256"}"#, "no JSON"), "\"secret\""), "null");
}

#[test]
fn times_count_with_a_leeway_of_a_minute() {
    // The execution starts at 1767323045.678.
    for (claims, counts) in [
        (r#"{"exp":1767323046}"#, true),
        (r#"{"exp":1767322986}"#, true),
        (r#"{"exp":1767322985}"#, false),
        (r#"{"exp":1767323000.5}"#, true),
        (r#"{"exp":"1767323046"}"#, false),
        (r#"{"exp":null}"#, false),
        (r#"{"nbf":1767323105}"#, true),
        (r#"{"nbf":1767323106}"#, false),
        (r#"{"nbf":0,"exp":9999999999}"#, true),
    ] {
        let found = verified(&token(r#"{"alg":"HS256"}"#, claims), "\"secret\"");
        assert_eq!(found != "null", counts, "{claims}");
    }
}

#[test]
fn issuer_and_audience_are_compared() {
    let options = "#{ iss: \"me\", aud: \"you\" }";
    for (claims, counts) in [
        (r#"{"iss":"me","aud":"you"}"#, true),
        (r#"{"iss":"me","aud":["they","you"]}"#, true),
        (r#"{"iss":"me","aud":["they"]}"#, false),
        (r#"{"iss":"me","aud":[]}"#, false),
        (r#"{"iss":"me","aud":"your"}"#, false),
        (r#"{"iss":"me"}"#, false),
        (r#"{"aud":"you"}"#, false),
        (r#"{"iss":["me"],"aud":"you"}"#, false),
    ] {
        let found = verified(&token(r#"{"alg":"HS256"}"#, claims), &format!("\"secret\", {options}"));
        assert_eq!(found != "null", counts, "{claims}");
    }
    let token = token(r#"{"alg":"HS256"}"#, r#"{"aud":"you"}"#);
    assert_eq!(
        fails(&format!("crypto::jwt_verify(\"{token}\", \"secret\")")),
        "crypto::jwt_verify: the token names an audience (you); give the option `aud`"
    );
}

#[test]
fn long_tokens_are_not_read() {
    assert_eq!(call("let t = \"\"; t.pad(1000000, 'x'); crypto::jwt_verify(t, \"k\")").text(), "null");
    assert_eq!(
        fails("let t = \"\"; t.pad(10000, 'x'); crypto::jwt_sign(#{ t: t }, \"k\")"),
        "crypto::jwt_sign: the JSON is longer than 8192 bytes"
    );
}
