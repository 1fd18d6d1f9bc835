// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using Fleece.Block;
using Fleece.Nbd.Server.Negotiation;
using Fleece.Nbd.Server.Requests;

namespace Fleece.Nbd.Server;

/// <summary>One client: a socket, a thread, a handshake and then a transmission.</summary>
/// <remarks>Threading. <see cref="End"/> from any thread; everything else happens on the connection's own.</remarks>
#pragma warning disable CA1001 // The token source has no timer and no handle; ending must stay possible at any time.
internal sealed class ServerConnection(Socket socket, ServerContext context, long number) : IThreadWork
{
    // A client that never stops sending must not keep a connection open that is to end.
    private const long EndingMilliseconds = 1000;

    private readonly CancellationTokenSource _ended = new();
    private readonly TaskCompletionSource _done = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile string? _exportName;
    private long _isOverAt = long.MaxValue;

    /// <summary>Completes when nothing more is done for the client and the socket is closed.</summary>
    public Task Done => _done.Task;

    /// <summary>The export the client uses; null during the handshake.</summary>
    public string? ExportName => _exportName;

    /// <summary>Closes the socket of a connection that could not be started.</summary>
    public void Refuse()
    {
        Close(null);
        _done.SetResult();
        context.Remove(this);
    }

    /// <summary>Lets the requests that have arrived finish, then closes.</summary>
    public void End()
    {
        Interlocked.CompareExchange(ref _isOverAt, Environment.TickCount64 + EndingMilliseconds, long.MaxValue);
        try
        {
            socket.Shutdown(SocketShutdown.Receive);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // It has ended by itself.
        }
    }

    /// <summary>Closes now; replies under way are lost.</summary>
    public void Abort()
    {
        _ended.Cancel();
        socket.Dispose();
    }

    /// <summary>Serves the client until it leaves or the connection is ended.</summary>
    public void Execute()
    {
        Stream? stream = null;
        try
        {
            stream = new NetworkStream(socket, ownsSocket: true);
            if (Negotiate(stream) is { } negotiated)
            {
                stream = negotiated.Stream;
                Transmit(negotiated);
            }
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException or BlockException)
        {
            // The client has gone or did not pass: nothing to tell it, and nobody else is concerned.
        }
#pragma warning disable CA1031 // A defect that one client meets must not end the process, with the disks of all the others (R7).
        catch (Exception)
#pragma warning restore CA1031
        {
            context.CountFailure();
        }
        finally
        {
            Close(stream);
            _done.SetResult();
            context.Remove(this);
        }
    }

    private Negotiated? Negotiate(Stream stream)
    {
        using CancellationTokenSource late = new(context.Options.HandshakeTimeout, context.Options.Time);
        using CancellationTokenRegistration closing = late.Token.Register(Abort);
        return new ServerHandshake(stream, context.Directory, context.StartTls).Run();
    }

    private void Transmit(Negotiated negotiated)
    {
        _exportName = negotiated.Export.Name;
        if (context.Directory.Find(negotiated.Export.Name) is null)
        {
            // Taken away while the client chose it: whoever ended the connections to it has not seen this one.
            return;
        }

        negotiated.Stream.WriteTimeout = (int)context.Options.StallTimeout.TotalMilliseconds;
        using CancellationTokenRegistration ending = negotiated.Export.Ended.Register(End);
        using Transmission transmission = new(negotiated, context.Memory, context.Threads, _ended, $"Fleece NBD {number}")
        {
            IsOver = IsOver,
        };
        try
        {
            transmission.Run();
        }
        finally
        {
            // Before the socket closes: a client that has seen the end does not count as a guest when it comes again.
            _exportName = null;
        }
    }

    private bool IsOver() => Volatile.Read(ref _isOverAt) is var at && at != long.MaxValue && Environment.TickCount64 >= at;

    private void Close(Stream? stream)
    {
        try
        {
            stream?.Dispose();
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException)
        {
            // Closing a connection that is broken already.
        }

        socket.Dispose();
    }
}
