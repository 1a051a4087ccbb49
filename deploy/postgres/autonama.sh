# Run once by the Postgres image, when its volume is empty: creates a user with the same password who
# owns the two databases and is not a superuser. psql reads the password, so no argument shows it.
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname=postgres <<'SQL'
\set password `cat "$POSTGRES_PASSWORD_FILE"`
CREATE ROLE autonama LOGIN PASSWORD :'password';
CREATE DATABASE autonama OWNER autonama ENCODING 'UTF8' TEMPLATE template0;
CREATE DATABASE autonama_dagster OWNER autonama ENCODING 'UTF8' TEMPLATE template0;
SQL
