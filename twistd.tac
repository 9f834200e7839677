"""`twistd -ny twistd.tac`: the same server, configured by the environment alone."""

from twisted.application.service import Application

from multiproto.tap import Options, makeService

application = Application("multiproto")
makeService(Options()).setServiceParent(application)
