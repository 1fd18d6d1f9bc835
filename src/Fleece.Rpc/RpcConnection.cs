// SPDX-License-Identifier: MIT
using System.Text.Json;
using Fleece.Block;
using Fleece.Hosting;
using Fleece.Hosting.Rpc;
using StreamJsonRpc;

namespace Fleece.Rpc;

/// <summary>One connection, with the errors of the contract in place of StreamJsonRpc's.</summary>
internal sealed class RpcConnection : IRpcConnection
{
    private readonly LimitedJsonRpc _rpc;
    private readonly JsonSerializerOptions _json;
    private readonly RpcLimits _limits;
    private int _notificationCount;

    public RpcConnection(LimitedJsonRpc rpc, JsonSerializerOptions json, RpcLimits limits)
    {
        _rpc = rpc;
        _json = json;
        _limits = limits;
        Ended = WaitForEndAsync();
    }

    public Task Ended { get; }

    public void Start() => _rpc.StartListening();

    public async ValueTask<T> CallAsync<T>(string method, object arguments, CancellationToken cancellationToken)
    {
        if (Ended.IsCompleted)
        {
            throw new BlockException(
                HostErrors.CallInterrupted, $"The connection had ended before '{method}' was sent, so nothing was done. Connect again.");
        }

        JsonElement sent = JsonSerializer.SerializeToElement(arguments, _json);
        try
        {
            JsonElement answer =
                await _rpc.InvokeWithParameterObjectAsync<JsonElement>(method, sent, cancellationToken).ConfigureAwait(false);
            return answer.Deserialize<T>(_json)!;
        }
        catch (RemoteMethodNotFoundException failure)
        {
            throw new BlockException(
                HostErrors.VersionMismatch,
                $"The other side does not know the request '{method}': host and client are of versions that do not work together. " +
                "Restart the older one.",
                cause: failure);
        }
        catch (RemoteRpcException failure) when (failure.DeserializedErrorData is JsonElement data)
        {
            throw ErrorOf(data, failure);
        }
        catch (JsonException failure)
        {
            throw new BlockException(
                HostErrors.VersionMismatch,
                $"The answer to '{method}' can't be understood: host and client are of versions that do not work together. " +
                $"Restart the older one. ({failure.Message})",
                cause: failure);
        }
        catch (Exception failure) when (failure is ConnectionLostException or IOException or ObjectDisposedException)
        {
            throw new BlockException(
                HostErrors.CallInterrupted,
                $"The connection ended before '{method}' was answered: it may or may not have been done. Look how things are before you " +
                "try again.",
                cause: failure);
        }
    }

    public async ValueTask NotifyAsync(string method, object arguments)
    {
        if (Ended.IsCompleted)
        {
            return;
        }

        try
        {
            if (Interlocked.Increment(ref _notificationCount) > _limits.MaximumCalls)
            {
                _rpc.Handler.Abort();
                return;
            }

            await _rpc.NotifyWithParameterObjectAsync(method, (object)JsonSerializer.SerializeToElement(arguments, _json))
                .ConfigureAwait(false);
        }
        catch (Exception failure)
            when (failure is ConnectionLostException or IOException or ObjectDisposedException or OperationCanceledException)
        {
            // The connection has ended meanwhile, as Ended tells.
        }
        finally
        {
            Interlocked.Decrement(ref _notificationCount);
        }
    }

    public async ValueTask DisposeAsync()
    {
        _rpc.Dispose();
        await Ended.ConfigureAwait(false);
    }

    private BlockException ErrorOf(JsonElement data, RemoteRpcException failure)
    {
        try
        {
            if (data.Deserialize<WireError>(_json) is { } error)
            {
                return error.ToException();
            }
        }
        catch (JsonException)
        {
            // The text of the answer is all there is.
        }

        return new BlockException(BlockErrors.InvariantBroken, failure.Message, cause: failure);
    }

    private async Task WaitForEndAsync()
    {
        await _rpc.Completion.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }
}
