//! `picloud tokens`: create, list and revoke.

use super::error::CommandError;
use super::output::{print, show};
use crate::cli::{CreateToken, IdPrefix, TokensVerb};
use crate::client::Client;
use crate::rest::{CreatedToken, NewToken, Token, Tokens};
use crate::words::table::table;
use crate::words::when::{exactly, when};

pub(crate) fn tokens(verb: &TokensVerb) -> Result<(), CommandError> {
    match verb {
        TokensVerb::Create(options) => create(options),
        TokensVerb::List(client) => {
            let tokens: Tokens = Client::find(client)?.get("tokens")?;
            show(&tokens, client.json, |tokens| words(&tokens.tokens))
        }
        TokensVerb::Revoke { which, client } => {
            let asked = Client::find(client)?;
            let which = &id_of(&asked, which)?;
            // Whatever stands in a name that is none, it stays within the path.
            let path: String =
                which.chars().filter(|c| c.is_ascii_graphic() && !"/?#%".contains(*c)).collect();
            let revoked: Token = asked.send("DELETE", &format!("tokens/{path}"), None::<&()>)?;
            if client.json {
                return show(&revoked, true, |_| String::new());
            }
            print(format!("{} is revoked.\n", revoked.name))
        }
    }
}

/// The id that begins so, where exactly one does and no token has that name.
fn id_of(client: &Client, which: &str) -> Result<String, CommandError> {
    let Ok(prefix) = which.parse::<IdPrefix>() else { return Ok(which.to_owned()) };
    if prefix.whole().is_some() {
        return Ok(which.to_owned());
    }
    let Tokens { tokens } = client.get("tokens")?;
    let mut ids = tokens.iter().map(|token| token.id.to_string()).filter(|id| prefix.begins(id));
    match (tokens.iter().any(|token| token.name == which), ids.next(), ids.next()) {
        (false, Some(id), None) => Ok(id),
        _ => Ok(which.to_owned()),
    }
}

/// The token goes to standard output by itself, so that a program can be given it; what there is to say of it does not.
fn create(options: &CreateToken) -> Result<(), CommandError> {
    let asked = NewToken {
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
    let created: CreatedToken = Client::find(&options.client)?.send("POST", "tokens", Some(&asked))?;
    if !options.client.json {
        let until = match created.token.expires_at {
            Some(end) => format!("until {}", exactly(end)),
            None => "until it is revoked".to_owned(),
        };
        eprintln!(
            "{} works {until}, for {}. This is the only time that it is shown:",
            created.token.name,
            created.token.scopes.join(" ")
        );
    }
    show(&created, options.client.json, |created| format!("{}\n", created.secret))
}

fn words(tokens: &[Token]) -> String {
    if tokens.is_empty() {
        return "There are no tokens but the admin token.\n".to_owned();
    }
    let row = |token: &Token| {
        let or_never =
            |at: Option<chrono::DateTime<chrono::Utc>>| at.map_or_else(|| "never".to_owned(), when);
        let expired = token.expires_at.is_some_and(|end| end <= chrono::Utc::now());
        let expires = format!("{}{}", or_never(token.expires_at), if expired { " (expired)" } else { "" });
        vec![
            token.name.clone(),
            token.scopes.join(" "),
            when(token.created_at),
            token.created_by.clone(),
            or_never(token.last_used_at),
            expires,
            token.id.to_string(),
        ]
    };
    let rows: Vec<_> = tokens.iter().map(row).collect();
    table(&["NAME", "SCOPES", "CREATED", "BY", "LAST USED", "EXPIRES", "ID"], &rows)
}
