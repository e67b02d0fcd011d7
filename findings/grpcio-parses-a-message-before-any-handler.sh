#!/usr/bin/env bash
# grpcio parses the message of a unary call before a handler that an interceptor has wrapped can refuse the caller
#
# Guess:   an interceptor that wraps the handler, which is where the caller's certificate can be read, refuses a caller
#          before the bytes that it sent are parsed.
# Version: grpcio 1.85.3
# Seen:    the deserializer of the method runs first, for a call that the wrapped handler then aborts. With a handler
#          that has no deserializer, and deserializes after its check, nothing of a refused call is parsed.
# So:      an interceptor that authenticates wraps handlers without their deserializer, and calls it afterwards.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
python_with grpcio==1.85.3

cat > seen.py <<'PY'
from concurrent import futures

import grpc

steps = []


def parse(data):
    steps.append("parsed")
    return data


def handle(message, context):
    return message


class Refusing(grpc.ServerInterceptor):
    def __init__(self, is_late):
        self.is_late = is_late

    def intercept_service(self, continuation, details):
        handler = continuation(details)

        def refuse(message, context):
            steps.append("refused")
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "")

        parser = None if self.is_late else handler.request_deserializer
        return grpc.unary_unary_rpc_method_handler(refuse, parser, handler.response_serializer)


for name, is_late in (("wrapped", False), ("wrapped without its deserializer", True)):
    steps.clear()
    server = grpc.server(futures.ThreadPoolExecutor(1), interceptors=[Refusing(is_late)])
    method = grpc.unary_unary_rpc_method_handler(handle, parse, None)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("shop.Orders", {"List": method})])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            channel.unary_unary("/shop.Orders/List")(b"x", timeout=10)
        except grpc.RpcError as error:
            steps.append(error.code().name)
    server.stop(None).wait()
    print(f"{name}:", *steps)
PY
"$python" seen.py > now.txt
expect now.txt <<'SEEN'
wrapped: parsed refused UNAUTHENTICATED
wrapped without its deserializer: refused UNAUTHENTICATED
SEEN
