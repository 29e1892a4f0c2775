//! `picloud secrets`.

use super::error::CommandError;
use super::output::show;
use super::prompt;
use crate::api_types::{ChangedSecret, NewKey, NewSecret, Rotated, SecretEnvironment, Secrets};
use crate::cli::{SecretArgs, SecretsCommand};
use crate::client::Client;
use crate::render::{count, printable, secrets};

pub(crate) fn secrets(command: &SecretsCommand) -> Result<(), CommandError> {
    match command {
        SecretsCommand::Set(option) => set(option),
        SecretsCommand::List { app, client } => {
            let server = Client::find(client)?;
            let app = server.app(app)?;
            let secrets: Secrets = server.get(&format!("apps/{}/secrets", app.as_str()))?;
            show(&secrets, client.json, |list| secrets::list(&list.secrets))
        }
        SecretsCommand::Unset(option) => {
            let (client, path) = secret_path(option)?;
            let changed: ChangedSecret = client.send("DELETE", &path, None::<&()>)?;
            show(&changed, option.client.json, |changed| {
                format!("unset {}{}\n", changed.name, environment_suffix(changed.environment))
            })
        }
        SecretsCommand::NewKey(client) => {
            let new: NewKey = Client::find(client)?.post("secrets/new-key")?;
            show(&new, client.json, |new| {
                format!(
                    "node {} encrypts with a new key at the top of {}\nhint: copy this file to the other nodes, then set the secrets again that  picloud secrets list  shows as lost\n",
                    printable(&new.node),
                    printable(&new.file)
                )
            })
        }
        SecretsCommand::Rotate(client) => {
            let rotated: Rotated = Client::find(client)?.post("secrets/rotate")?;
            show(&rotated, client.json, |rotated| {
                format!("re-encrypted {} with the first key\n", count(rotated.rotated, "secret"))
            })
        }
    }
}

fn secret_path(option: &SecretArgs) -> Result<(Client, String), CommandError> {
    let client = Client::find(&option.client)?;
    let app = client.app(&option.app)?;
    let environment = if option.preview { "?environment=preview" } else { "" };
    let path = format!("apps/{}/secrets/{}{environment}", app.as_str(), option.name.as_str());
    Ok((client, path))
}

/// Sets a secret. Its value is never an argument, which other users of the machine can see.
fn set(option: &SecretArgs) -> Result<(), CommandError> {
    let (client, path) = secret_path(option)?;
    let value = prompt::secret(option.name.as_str())?;
    let changed: ChangedSecret = client.send("PUT", &path, Some(&NewSecret { value }))?;
    for warning in &changed.warnings {
        eprintln!("warning: {}", printable(warning));
    }
    show(&changed, option.client.json, |changed| {
        let mut text = format!("set {}{}\n", changed.name, environment_suffix(changed.environment));
        for deploy in &changed.deploys {
            text += &format!("redeployed {} as deploy {}\n", deploy.branch, deploy.deploy);
        }
        text
    })
}

fn environment_suffix(environment: SecretEnvironment) -> &'static str {
    match environment {
        SecretEnvironment::Production => "",
        SecretEnvironment::Preview => " for previews",
    }
}
