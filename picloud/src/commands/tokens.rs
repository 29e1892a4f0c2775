//! `picloud tokens`.

use super::error::CommandError;
use super::output::{print, show};
use crate::api_types::{CreatedToken, NewToken, Token, Tokens};
use crate::cli::{CreateTokenArgs, IdPrefix, TokensCommand};
use crate::client::Client;
use crate::render::tokens;
use crate::render::when::with_offset;

pub(crate) fn tokens(command: &TokensCommand) -> Result<(), CommandError> {
    match command {
        TokensCommand::Create(options) => create(options),
        TokensCommand::List(client) => {
            let tokens: Tokens = Client::find(client)?.get("tokens")?;
            show(&tokens, client.json, |list| tokens::list(&list.tokens))
        }
        TokensCommand::Revoke { token_id, client } => {
            let server = Client::find(client)?;
            let id = resolve_id(&server, token_id)?;
            // An invalid name must not change the path.
            let path: String = id.chars().filter(|c| c.is_ascii_graphic() && !"/?#%".contains(*c)).collect();
            let revoked: Token = server.send("DELETE", &format!("tokens/{path}"), None::<&()>)?;
            if client.json {
                return show(&revoked, true, |_| String::new());
            }
            print(format!("revoked {}\n", revoked.name))
        }
    }
}

/// Resolves an unambiguous id prefix that is not the name of a token.
fn resolve_id(client: &Client, name_or_id: &str) -> Result<String, CommandError> {
    let Ok(prefix) = name_or_id.parse::<IdPrefix>() else { return Ok(name_or_id.to_owned()) };
    if prefix.full_id().is_some() {
        return Ok(name_or_id.to_owned());
    }
    let Tokens { tokens } = client.get("tokens")?;
    let mut ids = tokens.iter().map(|token| token.id.to_string()).filter(|id| prefix.matches(id));
    match (tokens.iter().any(|token| token.name == name_or_id), ids.next(), ids.next()) {
        (false, Some(id), None) => Ok(id),
        _ => Ok(name_or_id.to_owned()),
    }
}

/// Creates a token. Only the secret goes to standard output, for use in scripts.
fn create(options: &CreateTokenArgs) -> Result<(), CommandError> {
    let request = NewToken {
        name: options.name.clone(),
        scopes: options
            .scopes
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")
            .split(' ')
            .map(str::to_owned)
            .collect(),
        expires_in_seconds: options.expires.map(|age| age.0.as_secs()),
    };
    let created: CreatedToken = Client::find(&options.client)?.send("POST", "tokens", Some(&request))?;
    if !options.client.json {
        let expiry = match created.token.expires_at {
            Some(end) => format!("expires at {}", with_offset(end)),
            None => "does not expire".to_owned(),
        };
        eprintln!(
            "created token {} with scopes {}; it {expiry}. The secret is shown only once:",
            created.token.name,
            created.token.scopes.join(" ")
        );
    }
    show(&created, options.client.json, |created| format!("{}\n", created.secret))
}
