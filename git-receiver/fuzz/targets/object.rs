#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let _ = git_receiver_fuzz::Target::Object.run(input);
});
