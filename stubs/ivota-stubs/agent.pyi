from . import Client

client: Client
