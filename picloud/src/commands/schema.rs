//! `picloud schema`: the JSON Schema of `picloud.toml`.

use manifest_schema::schema::json_schema;

use super::error::CommandError;
use super::output::print;

pub(crate) fn schema() -> Result<(), CommandError> {
    // The alternate form is indented.
    print(format!("{:#}\n", json_schema()))
}
