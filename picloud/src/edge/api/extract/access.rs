//! Who sent a request, and what of an app they may.

use std::marker::PhantomData;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use manifest_schema::name::AppName;
use platform::apps::App;
use platform::tokens::Right;
use serde::Deserialize;

use crate::edge::api::names;
use crate::edge::api::state::Api;
use crate::edge::api_error::ApiError;
use crate::edge::credentials::Caller;

/// A right that a handler asks for.
pub(crate) trait Permission: Send {
    const RIGHT: Right;
}

macro_rules! permissions {
    ($($right:ident),*) => {
        $(
            #[doc = concat!("See [`Right::", stringify!($right), "`].")]
            pub(crate) enum $right {}

            impl Permission for $right {
                const RIGHT: Right = Right::$right;
            }
        )*
    };
}

permissions!(Read, DeployPreviews, DeployProduction, Invoke, Secrets, Admin);

/// The middleware of the API has found out who it is.
impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| ApiError::internal("a route of the API has asked nobody for a token"))
    }
}

/// Someone who may everything.
pub(crate) struct AdminCaller(pub(crate) Caller);

impl<S: Sync> FromRequestParts<S> for AdminCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, state).await?;
        if caller.who.is_admin() { Ok(Self(caller)) } else { Err(ApiError::missing_scope("admin")) }
    }
}

/// The name of an app in the address, and someone who has the right `P` to it. There need be no such app.
pub(crate) struct AppAccess<P> {
    pub(crate) app: AppName,
    pub(crate) caller: Caller,
    permission: PhantomData<P>,
}

#[derive(Deserialize)]
struct AppPath {
    app: String,
}

impl<P: Permission> FromRequestParts<Api> for AppAccess<P> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, api).await?;
        let Path(AppPath { app: name }) = Path::from_request_parts(parts, api).await?;
        // What cannot be a name is no app that anybody may anything with.
        let app = AppName::new(&name).map_err(|_| names::no_app(api, &caller.who, &name))?;
        if caller.who.may(P::RIGHT, &app) {
            return Ok(Self { app, caller, permission: PhantomData });
        }
        // Someone who may nothing with the app is told the same as where there is none.
        Err(match caller.who.knows(&app) || P::RIGHT == Right::Admin {
            true => ApiError::missing_scope(P::RIGHT.scope(&app)),
            false => names::no_app(api, &caller.who, &name),
        })
    }
}

/// The app in the address, whether or not anything of it is live, and someone who has the right `P` to it.
pub(crate) struct FoundApp<P> {
    pub(crate) app: App,
    pub(crate) caller: Caller,
    permission: PhantomData<P>,
}

impl<P: Permission> FromRequestParts<Api> for FoundApp<P> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let AppAccess { app, caller, permission } = AppAccess::<P>::from_request_parts(parts, api).await?;
        let found = api.apps.find(&app).await?;
        let app = found.ok_or_else(|| names::no_app(api, &caller.who, app.as_str()))?;
        Ok(Self { app, caller, permission })
    }
}
