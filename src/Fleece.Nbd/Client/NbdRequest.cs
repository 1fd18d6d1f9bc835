// SPDX-License-Identifier: MIT
using System.Threading.Tasks.Sources;
using Fleece.Nbd.Client.Extents;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Client;

/// <summary>One request on its way, from the caller's task to the last byte of its reply. Pooled.</summary>
/// <remarks>
/// <para>Life. Rented and described by the node, placed by <see cref="ConnectionSet"/> with a connection or among those that wait
/// for one, completed by whoever holds it, and returned to its pool when the caller takes the result.</para>
/// <para>Threading. What describes the request does not change while it is on its way. Where it is in its life is guarded by the
/// connection that holds it, what its reply has brought belongs to that connection's reader.</para>
/// </remarks>
internal sealed class NbdRequest(RequestPool pool) : IValueTaskSource
{
    private ManualResetValueTaskSourceCore<bool> _source = new() { RunContinuationsAsynchronously = true };
    private CancellationTokenRegistration _registration;
    private CancellationToken _cancellationToken;
    private NbdConnection? _connection;
    private ConnectionSet? _connections;
    private bool _isCancelRequested;
    private ExtentMemory? _forgets;

    public NbdCommand Command { get; private set; }

    public CommandFlags Flags { get; private set; }

    public long OffsetBytes { get; private set; }

    public long LengthBytes { get; private set; }

    /// <summary>Where a read's data goes.</summary>
    public Memory<byte> Buffer { get; set; }

    /// <summary>What a write carries.</summary>
    public ReadOnlyMemory<byte> Data { get; set; }

    /// <summary>Where a status query's extents go.</summary>
    public StatusReply? Status { get; set; }

    /// <summary>The connection it must use if that still lives; null for any.</summary>
    public NbdConnection? Preferred { get; set; }

    /// <summary>Its number on the connection that holds it.</summary>
    public ulong Cookie { get; set; }

    /// <summary>Header and small payload are on their way, so a reply may come.</summary>
    public bool IsSent { get; set; }

    /// <summary>The caller's data is being sent at this moment.</summary>
    public bool IsBeingSent { get; set; }

    /// <summary>Its reply is complete.</summary>
    public bool IsAnswered { get; set; }

    /// <summary>For a flush: the acknowledged writes of its connection that it will cover.</summary>
    public long CoversThrough { get; set; }

    /// <summary>When a connection was first lost under it, or null.</summary>
    public long? InterruptedAt { get; set; }

    /// <summary>The parts of a read that have come.</summary>
    public ReadCoverage Coverage { get; } = new();

    /// <summary>The first error in the reply.</summary>
    public NbdError Error { get; private set; }

    /// <summary>The server's text with <see cref="Error"/>.</summary>
    public string ErrorText { get; private set; } = string.Empty;

    /// <summary>True once the caller no longer wants it.</summary>
    public bool IsCancelRequested => Volatile.Read(ref _isCancelRequested);

    /// <summary>The connection that holds it, or held it last.</summary>
    public NbdConnection? Connection => Volatile.Read(ref _connection);

    public bool IsLargeRead => Command == NbdCommand.Read && LengthBytes >= ReceiveBuffer.LargeBytes;

    /// <summary>True for requests whose acknowledgement a loss of the server can make untrue.</summary>
    public bool NeedsFlush =>
        Command is NbdCommand.Write or NbdCommand.WriteZeroes or NbdCommand.Trim && (Flags & CommandFlags.Fua) == 0;

    /// <summary>Describes a rented request.</summary>
    /// <param name="command">What to do.</param>
    /// <param name="flags">How.</param>
    /// <param name="offsetBytes">Where.</param>
    /// <param name="lengthBytes">How much.</param>
    /// <param name="forgets">What to forget when it has completed, because it changes bytes; or null.</param>
    public void Describe(NbdCommand command, CommandFlags flags, long offsetBytes, long lengthBytes, ExtentMemory? forgets)
    {
        (Command, Flags, OffsetBytes, LengthBytes) = (command, flags, offsetBytes, lengthBytes);
        _forgets = forgets;
    }

    /// <summary>Sends it on its way.</summary>
    public ValueTask StartAsync(ConnectionSet connections, CancellationToken cancellationToken)
    {
        ValueTask task = new(this, _source.Version);
        if (cancellationToken.CanBeCanceled)
        {
            _connections = connections;
            _cancellationToken = cancellationToken;
            _registration = cancellationToken.UnsafeRegister(static state => ((NbdRequest)state!).OnCancelled(), this);
        }

        connections.Submit(this);
        return task;
    }

    /// <summary>Says which connection holds it from now on, with nothing sent and nothing answered.</summary>
    /// <remarks>The fence pairs with that of <see cref="OnCancelled"/>: either the cancellation finds the connection, or the
    /// connection finds the cancellation.</remarks>
    public void Place(NbdConnection connection, ulong cookie)
    {
        Cookie = cookie;
        IsSent = false;
        IsBeingSent = false;
        IsAnswered = false;
        Error = NbdError.None;
        ErrorText = string.Empty;
        Coverage.Clear();
        Status?.Clear();
        Volatile.Write(ref _connection, connection);
        Interlocked.MemoryBarrier();
    }

    /// <summary>Remembers the first error of its reply.</summary>
    public void Fail(NbdError error, string text)
    {
        if (Error == NbdError.None)
        {
            Error = error;
            ErrorText = text;
        }
    }

    /// <summary>Ends it; a cancelled one ends as cancelled, whatever came of it.</summary>
    public void Complete(Exception? failure)
    {
        _forgets?.Forget();
        failure = IsCancelRequested ? new OperationCanceledException(_cancellationToken) : failure;
        if (failure is null)
        {
            _source.SetResult(true);
        }
        else
        {
            _source.SetException(failure);
        }
    }

    /// <inheritdoc/>
    public void GetResult(short token)
    {
        try
        {
            _source.GetResult(token);
        }
        finally
        {
            // Waits for a cancellation that is being delivered, so that none reaches the request's next life.
            _registration.Dispose();
            Reset();
            pool.Return(this);
        }
    }

    /// <inheritdoc/>
    public ValueTaskSourceStatus GetStatus(short token) => _source.GetStatus(token);

    /// <inheritdoc/>
    public void OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _source.OnCompleted(continuation, state, token, flags);

    private void OnCancelled()
    {
        Volatile.Write(ref _isCancelRequested, true);
        Interlocked.MemoryBarrier();
        _connections!.Cancel(this);
    }

    private void Reset()
    {
        _source.Reset();
        _registration = default;
        _cancellationToken = default;
        _connection = null;
        _connections = null;
        _isCancelRequested = false;
        _forgets = null;
        Buffer = default;
        Data = default;
        Status = null;
        Preferred = null;
        CoversThrough = 0;
        InterruptedAt = null;
        Error = NbdError.None;
        ErrorText = string.Empty;
        Coverage.Clear();
    }
}
