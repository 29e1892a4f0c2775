//! Runs a repository's hooks (githooks), with their output sent to the client.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use crate::repository::DiskRepository;

/// A hook to run.
pub(crate) struct Hook<'a> {
    /// Such as `pre-receive`.
    pub(crate) name: &'a str,
    pub(crate) arguments: Vec<String>,
    /// Its standard input.
    pub(crate) input: String,
    /// Variables besides `GIT_DIR`.
    pub(crate) environment: Vec<(String, OsString)>,
}

impl Hook<'_> {
    /// Runs the hook to its end, and sends its output as progress; whether it succeeded. A missing hook succeeds, one that
    /// cannot be executed fails.
    pub(crate) fn succeeds(&self, repository: &DiskRepository, send_progress: &dyn Fn(&[u8])) -> bool {
        self.run(repository, send_progress).unwrap_or_else(|error| {
            send_progress(format!("error: cannot exec '{}': {error}\n", self.name).as_bytes());
            false
        })
    }

    fn run(&self, repository: &DiskRepository, send_progress: &dyn Fn(&[u8])) -> io::Result<bool> {
        let program = repository.config.hooks.join(self.name);
        let is_executable =
            program.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
        if !is_executable {
            return Ok(true);
        }
        let (mut output, writer) = io::pipe()?;
        let mut command = Command::new(program);
        command
            .args(&self.arguments)
            .current_dir(&repository.git_dir)
            .env("GIT_DIR", ".")
            .env_remove("GIT_PUSH_OPTION_COUNT")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(writer.try_clone()?)
            .stderr(writer);
        let mut child = command.spawn()?;
        // The command holds a copy of the pipe's write end; without the drop, reading would never end.
        drop(command);
        let input = child.stdin.take();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // A hook does not have to read its input.
                let _ = input.map(|mut input| input.write_all(self.input.as_bytes()));
            });
            let mut buffer = [0; 4096];
            loop {
                match output.read(&mut buffer)? {
                    0 => return Ok::<_, io::Error>(()),
                    length => send_progress(&buffer[..length]),
                }
            }
        })?;
        Ok(child.wait()?.success())
    }
}
