# Run once by the Postgres image, when its volume is empty: a user who owns two databases and is no
# superuser, with the same password. It is read by the server's machine, so it is in no argument.
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname=postgres <<'SQL'
\set password `cat "$POSTGRES_PASSWORD_FILE"`
CREATE ROLE autonama LOGIN PASSWORD :'password';
CREATE DATABASE autonama OWNER autonama ENCODING 'UTF8' TEMPLATE template0;
CREATE DATABASE autonama_dagster OWNER autonama ENCODING 'UTF8' TEMPLATE template0;
SQL
