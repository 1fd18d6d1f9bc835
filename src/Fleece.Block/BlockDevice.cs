// SPDX-License-Identifier: MIT
namespace Fleece.Block;

/// <summary>The handle through which everybody outside the chain uses a chain of nodes (rule R3).</summary>
/// <remarks>
/// <para>It validates range and alignment once, counts requests in flight, drains them when it is closed, and can be
/// quiesced for the instant in which the chain changes (rule R6).</para>
/// <para>A request that meets a broken invariant poisons the device: from then on each request fails with that error (rule R7).</para>
/// <para>Threading. All members are safe from any thread. Errors are those of <see cref="IBlockNode"/>, and
/// the closed kind after disposal.</para>
/// <para>Ownership. The device owns its root and disposes it.</para>
/// </remarks>
internal sealed class BlockDevice : IAsyncDisposable
{
    private readonly RequestGate _gate = new();
    private readonly string _name;
    private readonly string _closedKind;
    private readonly DevicePoison _poison;
    private readonly BlockGeometry _geometry;
    private IBlockNode _root;
    private long _flushCount;
    private long _flushFailureCount;
    private Task? _disposal;

    /// <summary>Makes a handle over a chain.</summary>
    /// <param name="root">The topmost node.</param>
    /// <param name="name">What messages call it: a path or a disk's name.</param>
    /// <param name="closedKind">The error of requests after disposal.</param>
    public BlockDevice(IBlockNode root, string name, string closedKind = BlockErrors.Closed)
    {
        ArgumentNullException.ThrowIfNull(root);
        _root = root;
        _name = name;
        _poison = new DevicePoison(name);
        _closedKind = closedKind;
        _geometry = root.Geometry;
    }

    /// <summary>Hears of the broken invariant that poisons the device, once, on the thread of the request.</summary>
    public Action<BlockException>? Poisoned
    {
        get => _poison.Found;
        set => _poison.Found = value;
    }

    /// <summary>Size and alignment of the root.</summary>
    public BlockGeometry Geometry => _geometry;

    /// <summary>The topmost node. It changes only under <see cref="QuiesceAsync"/>.</summary>
    public IBlockNode Root => Volatile.Read(ref _root);

    /// <inheritdoc cref="IBlockNode.CanReadAhead"/>
    public bool CanReadAhead => Root.CanReadAhead;

    /// <summary>As <see cref="IBlockNode.ReadAhead"/>; it does nothing where it can't, and on a device that is quiesced or
    /// closed.</summary>
    public void ReadAhead(long offsetBytes, long lengthBytes)
    {
        Validate(offsetBytes, lengthBytes, "read");
        if (_gate.TryEnter(out int ticket))
        {
            try
            {
                Root.ReadAhead(offsetBytes, lengthBytes);
            }
            catch (BlockException)
            {
                // Only a hint: the read that follows reports it.
            }
            finally
            {
                _gate.Exit(ticket);
            }
        }
    }

    /// <inheritdoc cref="IBlockNode.ReadAsync"/>
    public ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        Validate(offsetBytes, buffer.Length, "read");
        if (!_gate.TryEnter(out int ticket))
        {
            return ReadLaterAsync(offsetBytes, buffer, cancellationToken);
        }

        ValueTask request;
        try
        {
            request = Root.ReadAsync(offsetBytes, buffer, cancellationToken);
        }
        catch (Exception e)
        {
            _gate.Exit(ticket);
            _ = _poison.IsDefect(e);
            throw;
        }

        return Finish(request, ticket);
    }

    /// <inheritdoc cref="IBlockNode.WriteAsync"/>
    public ValueTask WriteAsync(
        long offsetBytes,
        ReadOnlyMemory<byte> data,
        WriteFlags flags = WriteFlags.None,
        CancellationToken cancellationToken = default)
    {
        Validate(offsetBytes, data.Length, "write");
        CheckWritable("write");
        if (!_gate.TryEnter(out int ticket))
        {
            return WriteLaterAsync(offsetBytes, data, flags, cancellationToken);
        }

        ValueTask request;
        try
        {
            request = Root.WriteAsync(offsetBytes, data, flags, cancellationToken);
        }
        catch (Exception e)
        {
            _gate.Exit(ticket);
            _ = _poison.IsDefect(e);
            throw;
        }

        return Finish(request, ticket);
    }

    /// <inheritdoc cref="IBlockNode.WriteZeroesAsync"/>
    public async ValueTask WriteZeroesAsync(
        long offsetBytes,
        long lengthBytes,
        WriteFlags flags = WriteFlags.None,
        CancellationToken cancellationToken = default)
    {
        Validate(offsetBytes, lengthBytes, "write zeros to");
        CheckWritable("write zeros to");
        int ticket = await EnterAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            await Root.WriteZeroesAsync(offsetBytes, lengthBytes, flags, cancellationToken).ConfigureAwait(false);
        }
        catch (BlockException e) when (_poison.IsDefect(e))
        {
            throw;
        }
        finally
        {
            _gate.Exit(ticket);
        }
    }

    /// <inheritdoc cref="IBlockNode.DiscardAsync"/>
    public async ValueTask DiscardAsync(
        long offsetBytes, long lengthBytes, CancellationToken cancellationToken = default)
    {
        Validate(offsetBytes, lengthBytes, "discard");
        CheckWritable("discard");
        int ticket = await EnterAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            await Root.DiscardAsync(offsetBytes, lengthBytes, cancellationToken).ConfigureAwait(false);
        }
        catch (BlockException e) when (_poison.IsDefect(e))
        {
            throw;
        }
        finally
        {
            _gate.Exit(ticket);
        }
    }

    /// <summary>Flushes that have ended, well or badly.</summary>
    public long FlushCount => Volatile.Read(ref _flushCount);

    /// <summary>Those of them that ended badly.</summary>
    public long FlushFailureCount => Volatile.Read(ref _flushFailureCount);

    /// <inheritdoc cref="IBlockNode.FlushAsync"/>
    public async ValueTask FlushAsync(CancellationToken cancellationToken = default)
    {
        _poison.ThrowIfSet();
        int ticket = await EnterAsync(cancellationToken).ConfigureAwait(false);
        bool isFlushed = false;
        try
        {
            await Root.FlushAsync(cancellationToken).ConfigureAwait(false);
            isFlushed = true;
        }
        catch (BlockException e) when (_poison.IsDefect(e))
        {
            throw;
        }
        finally
        {
            _gate.Exit(ticket);
            Interlocked.Increment(ref _flushCount);
            Interlocked.Add(ref _flushFailureCount, isFlushed ? 0 : 1);
        }
    }

    /// <inheritdoc cref="IBlockNode.GetStatusAsync"/>
    public async ValueTask<BlockStatusRun> GetStatusAsync(
        long offsetBytes, long lengthBytes, CancellationToken cancellationToken = default)
    {
        Validate(offsetBytes, lengthBytes, "query");
        int ticket = await EnterAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            return await Root.GetStatusAsync(offsetBytes, lengthBytes, cancellationToken).ConfigureAwait(false);
        }
        catch (BlockException e) when (_poison.IsDefect(e))
        {
            throw;
        }
        finally
        {
            _gate.Exit(ticket);
        }
    }

    /// <summary>Asks something about a range that a node beneath the root answers, as one request: it is counted in flight, held back
    /// while the device is quiesced, and refused once it is closed.</summary>
    /// <param name="offsetBytes">Offset of the range.</param>
    /// <param name="lengthBytes">Its length.</param>
    /// <param name="question">Asks; the node stays open until its task has completed.</param>
    /// <param name="cancellationToken">Ends the wait of a device that is quiesced.</param>
    public async ValueTask<T> AskAsync<T>(
        long offsetBytes, long lengthBytes, Func<long, long, ValueTask<T>> question, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(question);
        Validate(offsetBytes, lengthBytes, "query");
        int ticket = await EnterAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            return await question(offsetBytes, lengthBytes).ConfigureAwait(false);
        }
        catch (BlockException e) when (_poison.IsDefect(e))
        {
            throw;
        }
        finally
        {
            _gate.Exit(ticket);
        }
    }

    /// <summary>
    /// Holds new requests back and waits for those in flight. Until <see cref="Resume"/> no request runs and
    /// <see cref="ReplaceRoot"/> may be called. One quiescing party at a time.
    /// </summary>
    /// <param name="patience">How long requests in flight may take; null for as long as they do.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="BlockException"><see cref="BlockErrors.Closed"/></exception>
    /// <exception cref="TimeoutException">The patience is over. The device is not quiesced, as after any other exception.</exception>
    public async ValueTask QuiesceAsync(TimeSpan? patience = null, CancellationToken cancellationToken = default)
    {
        if (!await _gate.HoldAsync(patience ?? Timeout.InfiniteTimeSpan, cancellationToken).ConfigureAwait(false))
        {
            throw ClosedError();
        }
    }

    /// <summary>Refuses a device that is closed.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.Closed"/></exception>
    public void CheckOpen()
    {
        if (_gate.IsClosed)
        {
            throw ClosedError();
        }
    }

    /// <summary>Lets requests go on after <see cref="QuiesceAsync"/>.</summary>
    public void Resume() => _gate.Release();

    /// <summary>Puts another topmost node in place; only while quiesced. The geometry must be the same.</summary>
    public void ReplaceRoot(IBlockNode root)
    {
        ArgumentNullException.ThrowIfNull(root);
        Invariant.Require(root.Geometry == _geometry, "R6", "a chain keeps its geometry when a filter comes or goes");
        Volatile.Write(ref _root, root);
    }

    /// <summary>
    /// Refuses new requests, waits for those in flight, then disposes the root. Idempotent. Requests that a quiesced
    /// device holds fail; whoever has quiesced it must not change the chain from here on.
    /// </summary>
    public ValueTask DisposeAsync()
    {
        lock (_gate)
        {
            _disposal ??= CloseAsync();
            return new ValueTask(_disposal);
        }
    }

    private async Task CloseAsync()
    {
        await _gate.CloseAsync().ConfigureAwait(false);
        await Root.DisposeAsync().ConfigureAwait(false);
    }

    private ValueTask Finish(ValueTask request, int ticket)
    {
        if (request.IsCompletedSuccessfully)
        {
            _gate.Exit(ticket);
            return default;
        }

        return ExitWhenDoneAsync(request, ticket);
    }

    [System.Runtime.CompilerServices.AsyncMethodBuilder(
        typeof(System.Runtime.CompilerServices.PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask ExitWhenDoneAsync(ValueTask request, int ticket)
    {
        try
        {
            await request.ConfigureAwait(false);
        }
        catch (BlockException e) when (_poison.IsDefect(e))
        {
            throw;
        }
        finally
        {
            _gate.Exit(ticket);
        }
    }

    private async ValueTask ReadLaterAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        int ticket = await EnterAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            await Root.ReadAsync(offsetBytes, buffer, cancellationToken).ConfigureAwait(false);
        }
        catch (BlockException e) when (_poison.IsDefect(e))
        {
            throw;
        }
        finally
        {
            _gate.Exit(ticket);
        }
    }

    private async ValueTask WriteLaterAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        int ticket = await EnterAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            await Root.WriteAsync(offsetBytes, data, flags, cancellationToken).ConfigureAwait(false);
        }
        catch (BlockException e) when (_poison.IsDefect(e))
        {
            throw;
        }
        finally
        {
            _gate.Exit(ticket);
        }
    }

    private async ValueTask<int> EnterAsync(CancellationToken cancellationToken)
    {
        int ticket = await _gate.EnterAsync(cancellationToken).ConfigureAwait(false);
        return ticket >= 0 ? ticket : throw ClosedError();
    }

    private void Validate(long offsetBytes, long lengthBytes, string operation)
    {
        _poison.ThrowIfSet();
        BlockRange range = new(offsetBytes, lengthBytes);
        range.CheckWithin(_geometry.LengthBytes, _name, operation);
        range.CheckAlignment(_geometry.RequestAlignmentBytes, _name, operation);
    }

    private void CheckWritable(string operation)
    {
        if (_geometry.IsReadOnly)
        {
            throw new BlockException(
                BlockErrors.ReadOnly,
                $"Cannot {operation} '{_name}': it is open read-only. Mount it without -ReadOnly to write.",
                _name,
                operation: operation);
        }
    }

    private BlockException ClosedError() =>
        new(_closedKind, $"'{_name}' has been closed and takes no more requests.", _name);
}
