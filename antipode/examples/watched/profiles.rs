//! Profiles in Postgres, if there is one.

use antipode::barrier::RegistryBuilder;

use crate::Failure;

#[cfg(feature = "postgres")]
pub(crate) use self::stored::Profiles;

/// None: built without the feature `postgres`.
#[cfg(not(feature = "postgres"))]
pub(crate) struct Profiles;

#[cfg(not(feature = "postgres"))]
impl Profiles {
    pub(crate) async fn open() -> Result<Self, Failure> {
        Ok(Self)
    }

    pub(crate) fn beside(&self, others: RegistryBuilder) -> RegistryBuilder {
        others
    }

    pub(crate) async fn count_post(&self) -> Result<(), Failure> {
        Ok(())
    }
}

#[cfg(feature = "postgres")]
mod stored {
    use std::env;

    use antipode::postgres::PostgresStore;
    use antipode::postgres::sqlx::{self, PgPool};

    use super::*;

    const TABLE: &str = "CREATE TABLE IF NOT EXISTS watched (author text PRIMARY KEY, posts bigint NOT NULL)";
    const COUNT: &str = "INSERT INTO watched VALUES ('ada', 1)
        ON CONFLICT (author) DO UPDATE SET posts = watched.posts + 1";

    /// A profile, on a primary and its standby.
    pub(crate) struct Profiles(Option<PostgresStore>);

    impl Profiles {
        /// Where `POSTGRES` says, if it does.
        pub(crate) async fn open() -> Result<Self, Failure> {
            let Ok(urls) = env::var("POSTGRES") else { return Ok(Self(None)) };
            let (primary, standby) = urls.split_once(',').ok_or("POSTGRES is not <primary>,<standby>")?;
            let primary = PgPool::connect(primary).await?;
            sqlx::query(TABLE).execute(&primary).await?;
            let store = PostgresStore::builder("profiles").primary(primary);
            let store = store.replica("eu", PgPool::connect(standby).await?).build()?;
            println!("profiles: {urls}");
            Ok(Self(Some(store)))
        }

        pub(crate) fn beside(&self, others: RegistryBuilder) -> RegistryBuilder {
            self.0.iter().fold(others, |others, store| others.store(store.clone()))
        }

        pub(crate) async fn count_post(&self) -> Result<(), Failure> {
            if let Some(store) = &self.0 {
                sqlx::query(COUNT).execute(&store.shim()).await?;
            }
            Ok(())
        }
    }
}
