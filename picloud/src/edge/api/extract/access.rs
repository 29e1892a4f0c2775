//! The caller of a request, and its authorization for an app.

use std::marker::PhantomData;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use manifest_schema::name::AppName;
use platform::apps::App;
use platform::tokens::Right;
use serde::Deserialize;

use crate::edge::api::lookup;
use crate::edge::api::state::Api;
use crate::edge::api_error::ApiError;
use crate::edge::authenticator::Caller;

/// A right that a handler requires.
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

permissions!(Read, DeployPreviews, DeployProduction, Invoke, Secrets, KvRead, KvWrite, Admin);

/// The caller that the authentication middleware has stored.
impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| ApiError::internal("API route without authentication middleware"))
    }
}

/// A caller with the admin scope.
pub(crate) struct AdminCaller(pub(crate) Caller);

impl<S: Sync> FromRequestParts<S> for AdminCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, state).await?;
        if caller.principal.is_admin() { Ok(Self(caller)) } else { Err(ApiError::missing_scope("admin")) }
    }
}

/// The app name in the path, and a caller with the right `P` to it. The app does not have to exist.
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
        // An invalid name is reported like an unknown app.
        let app = AppName::new(&name).map_err(|_| lookup::no_app(api, &caller.principal, &name))?;
        if caller.principal.can(P::RIGHT, &app) {
            return Ok(Self { app, caller, permission: PhantomData });
        }
        // Without any access the app appears not to exist.
        Err(match caller.principal.can_see(&app) || P::RIGHT == Right::Admin {
            true => ApiError::missing_scope(P::RIGHT.scope(&app)),
            false => lookup::no_app(api, &caller.principal, &name),
        })
    }
}

/// The app in the path, live or not, and a caller with the right `P` to it.
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
        let app = found.ok_or_else(|| lookup::no_app(api, &caller.principal, app.as_str()))?;
        Ok(Self { app, caller, permission })
    }
}
