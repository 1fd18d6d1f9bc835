// SPDX-License-Identifier: MIT
using Fleece.Backups.Reading;
using Fleece.Disks;

namespace Fleece.Backups.Writing;

/// <summary>A snapshot on its way to a target: a read that is ahead, and a writer that is behind.</summary>
/// <remarks>Threading. One caller at a time: <see cref="StepAsync"/> until it says false, then <see cref="CompleteAsync"/>. Ownership. It
/// owns the target, and not the snapshot.</remarks>
internal sealed class SnapshotCopy : IAsyncDisposable
{
    private readonly SnapshotRead _read;
    private readonly BackupWriter _writer;

    private SnapshotCopy(SnapshotRead read, BackupWriter writer)
    {
        _read = read;
        _writer = writer;
    }

    /// <summary>Bytes that have been read so far, zeros included.</summary>
    public long ArrivedBytes => _writer.ArrivedBytes;

    /// <summary>Begins to read ahead. A failure ends the target.</summary>
    /// <exception cref="Block.BlockException">As <see cref="SnapshotRead"/>.</exception>
    public static async ValueTask<SnapshotCopy> StartAsync(ISnapshotSource source, IBackupTarget target, SnapshotReadOptions options)
    {
        BackupWriter writer = new(source, target);
        try
        {
            return new SnapshotCopy(new SnapshotRead(source, options), writer);
        }
        catch
        {
            await writer.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Copies the next piece; false when there was none left.</summary>
    public async ValueTask<bool> StepAsync(CancellationToken cancellationToken)
    {
        if (await _read.NextAsync(cancellationToken).ConfigureAwait(false) is not { } chunk)
        {
            return false;
        }

        await _writer.WriteAsync(chunk, cancellationToken).ConfigureAwait(false);
        return true;
    }

    /// <inheritdoc cref="BackupWriter.CompleteAsync"/>
    public ValueTask<Backup> CompleteAsync(CancellationToken cancellationToken) => _writer.CompleteAsync(cancellationToken);

    /// <summary>Ends the read and the target; what was not completed is no backup. Idempotent.</summary>
    public async ValueTask DisposeAsync()
    {
        await _read.DisposeAsync().ConfigureAwait(false);
        await _writer.DisposeAsync().ConfigureAwait(false);
    }
}
