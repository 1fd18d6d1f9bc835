// SPDX-License-Identifier: MIT
using System.Text.Json;
using Fleece.Block;
using Fleece.Hosting;
using Fleece.Hosting.Rpc;
using StreamJsonRpc;
using StreamJsonRpc.Protocol;

namespace Fleece.Rpc;

/// <summary>A connection of StreamJsonRpc that limits the calls which run at once, and sends errors as <see cref="WireError"/>.</summary>
internal sealed class LimitedJsonRpc : JsonRpc
{
    // Source: the Language Server Protocol, "Cancellation Support", which StreamJsonRpc follows.
    private const string CancelMethod = "$/cancelRequest";

    private readonly JsonSerializerOptions _json;
    private readonly RpcLimits _limits;
    private readonly HashSet<string> _events = [CancelMethod];
    private int _running;

    public LimitedJsonRpc(LengthPrefixedHandler handler, JsonSerializerOptions json, RpcLimits limits)
        : base(handler)
    {
        Handler = handler;
        _json = json;
        _limits = limits;
        CancelLocallyInvokedMethodsWhenConnectionIsClosed = true;
        SynchronizationContext = new ReadingThread();
    }

    public LengthPrefixedHandler Handler { get; }

    /// <summary>Lets a method of a contract be called.</summary>
    public void Add(ContractMethod method, BoundMethod bound)
    {
        if (method.IsEvent)
        {
            _events.Add(method.Name);
        }

        AddLocalRpcMethod(
            BoundMethod.Handler(method), bound, new JsonRpcMethodAttribute(method.Name) { UseSingleObjectParameterDeserialization = true });
    }

    // The error that an answer holds, whatever its code.
    protected override Type? GetErrorDetailsDataType(JsonRpcError error) => typeof(JsonElement);

    protected override JsonRpcError.ErrorDetail CreateErrorDetails(JsonRpcRequest request, Exception exception)
    {
        WireError error = exception is BlockException known
            ? WireError.Of(known)
            : new()
            {
                Kind = BlockErrors.InvariantBroken,
                Message = $"The other side failed at '{request.Method}' with an internal error, which is a defect of Fleece: " +
                    $"{exception.GetType().Name}: {exception.Message}",
            };
        return new()
        {
            Code = JsonRpcErrorCode.InvocationError,
            Message = error.Message,
            Data = JsonSerializer.SerializeToElement(error, _json),
        };
    }

    protected override async ValueTask<JsonRpcMessage> DispatchRequestAsync(
        JsonRpcRequest request, TargetMethod targetMethod, CancellationToken cancellationToken)
    {
        if (_events.Contains(request.Method!))
        {
            return await base.DispatchRequestAsync(request, targetMethod, cancellationToken).ConfigureAwait(false);
        }

        if (!request.IsResponseExpected)
        {
            throw new BlockException(BlockErrors.InvalidArgument, $"'{request.Method}' was asked for without an id, so it was not done.");
        }

        try
        {
            return Interlocked.Increment(ref _running) <= _limits.MaximumCalls
                ? await base.DispatchRequestAsync(request, targetMethod, cancellationToken).ConfigureAwait(false)
                : throw new BlockException(
                    HostErrors.Overloaded,
                    $"'{request.Method}' was not done: {_limits.MaximumCalls} requests of this connection are running, the most that " +
                    "may. Wait for one to end and try again.");
        }
        finally
        {
            Interlocked.Decrement(ref _running);
        }
    }

    // Calls begin where the message was read: events end there too, so that they keep their order and hold the peer back, and requests
    // go on elsewhere.
    private sealed class ReadingThread : SynchronizationContext
    {
        public override void Post(SendOrPostCallback d, object? state) => d(state);
    }
}
