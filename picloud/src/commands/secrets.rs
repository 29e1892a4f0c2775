//! `picloud secrets`: set, list, unset and rotate.

use super::error::CommandError;
use super::output::show;
use super::prompt;
use crate::cli::{SecretOption, SecretsVerb};
use crate::client::Client;
use crate::rest::{ChangedSecret, NewKey, NewSecret, Rotated, Secret, SecretEnvironment, Secrets};
use crate::words::table::table;
use crate::words::when::when;
use crate::words::{count, printable};

pub(crate) fn secrets(verb: &SecretsVerb) -> Result<(), CommandError> {
    match verb {
        SecretsVerb::Set(option) => set(option),
        SecretsVerb::List { app, client } => {
            let asked = Client::find(client)?;
            let app = asked.app(app)?;
            let secrets: Secrets = asked.get(&format!("apps/{}/secrets", app.as_str()))?;
            show(&secrets, client.json, |secrets| words(&secrets.secrets))
        }
        SecretsVerb::Unset(option) => {
            let (client, path) = place(option)?;
            let changed: ChangedSecret = client.send("DELETE", &path, None::<&()>)?;
            show(&changed, option.client.json, |changed| {
                format!("{} is unset{}.\n", changed.name, for_whom(changed.environment))
            })
        }
        SecretsVerb::NewKey(client) => {
            let new: NewKey = Client::find(client)?.post("secrets/new-key")?;
            show(&new, client.json, |new| {
                format!(
                    "Node {} encrypts with a new key, which is on top of {}.\nNext, where there are other nodes: copy that file to each. \
                     Then set the lost secrets of each app again, which  picloud secrets list  names.\n",
                    printable(&new.node),
                    printable(&new.file)
                )
            })
        }
        SecretsVerb::Rotate(client) => {
            let rotated: Rotated = Client::find(client)?.post("secrets/rotate")?;
            show(&rotated, client.json, |rotated| {
                format!("{} encrypted with the first key.\n", count(rotated.rotated, "secret"))
            })
        }
    }
}

fn place(option: &SecretOption) -> Result<(Client, String), CommandError> {
    let client = Client::find(&option.client)?;
    let app = client.app(&option.app)?;
    let environment = if option.preview { "?environment=preview" } else { "" };
    let path = format!("apps/{}/secrets/{}{environment}", app.as_str(), option.name.as_str());
    Ok((client, path))
}

/// The value comes from standard input and never from an argument, which other users of the machine can see.
fn set(option: &SecretOption) -> Result<(), CommandError> {
    let (client, path) = place(option)?;
    let value = prompt::secret(option.name.as_str())?;
    let changed: ChangedSecret = client.send("PUT", &path, Some(&NewSecret { value }))?;
    for warning in &changed.warnings {
        eprintln!("warning: {}", printable(warning));
    }
    show(&changed, option.client.json, |changed| {
        let mut text = format!("{} is set{}.\n", changed.name, for_whom(changed.environment));
        for deploy in &changed.deploys {
            text += &format!("{} reads it anew as deploy {}.\n", deploy.branch, deploy.deploy);
        }
        text
    })
}

fn for_whom(environment: SecretEnvironment) -> &'static str {
    match environment {
        SecretEnvironment::Production => "",
        SecretEnvironment::Preview => " for previews",
    }
}

fn words(secrets: &[Secret]) -> String {
    if secrets.is_empty() {
        return "No secret is set.\n".to_owned();
    }
    let any_lost = secrets.iter().any(|secret| secret.lost);
    let row = |secret: &Secret| {
        let environment = match secret.environment {
            SecretEnvironment::Production => "production",
            SecretEnvironment::Preview => "previews",
        };
        let mut row =
            vec![secret.name.clone(), environment.to_owned(), when(secret.set_at), secret.set_by.clone()];
        if any_lost {
            row.push(if secret.lost { "lost" } else { "" }.to_owned());
        }
        row
    };
    let rows: Vec<_> = secrets.iter().map(row).collect();
    let columns = ["NAME", "FOR", "SET", "BY", "STATE"];
    let mut text = table(&columns[..if any_lost { 5 } else { 4 }], &rows);
    if any_lost {
        text += "The server has no key that opens the lost ones: put the key back, or set them again.\n";
    }
    text
}
