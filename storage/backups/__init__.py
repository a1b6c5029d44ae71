"""Is it backed up, and does it restore: backups of the SQL database and of the DynamoDB table.

selection     which backups ENVIRONMENT asks for
base          what all of them offer
sql           of the SQL database: everything in development; staff users and keys in production
  folder      all backups: taking, reading and expiring them
  files       the names of their files, and the lock of the folder
  manifests   what is in a backup, and what it is made of
  chunks      the content that several backups share
  snapshot    the database file as it is at one moment
  inspection  whether a database file is intact, and what it holds
  replacing   a backup in the place of the database
  practice    the folder in which that is practised
table         of the DynamoDB table
  recovery    its point-in-time recovery
"""
