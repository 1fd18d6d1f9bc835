// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Images.Qcow2;

/// <content>Writing.</content>
internal sealed partial class Qcow2Node
{
    /// <inheritdoc/>
    public ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        CheckChange(offsetBytes, data.Length, "write", cancellationToken);
        if (_metadata.NeedsWriteBack || (flags & WriteFlags.ForceUnitAccess) != 0)
        {
            return WriteAndFlushAsync(offsetBytes, data, flags, cancellationToken);
        }

        Write(offsetBytes, data.Span);
        return default;
    }

    private void Write(long offsetBytes, ReadOnlySpan<byte> data)
    {
        _metadata.PrepareForChange();
        int ticket = _metadata.Epochs.Enter();
        try
        {
            while (!data.IsEmpty)
            {
                if (_compressor?.Write(offsetBytes, data) is > 0 and int compressedBytes)
                {
                    offsetBytes += compressedBytes;
                    data = data[compressedBytes..];
                    continue;
                }

                MappedRun run = _metadata.Map(offsetBytes, data.Length, isContiguous: true);
                long doneBytes = run.LengthBytes;
                if (run.Kind == ClusterKind.Data && run.IsCopied)
                {
                    _dataFile.Write(run.HostOffsetBytes, data[..(int)doneBytes]);
                }
                else if (_metadata.Allocate(offsetBytes, data.Length))
                {
                    continue;
                }
                else
                {
                    doneBytes = _copy.Write(offsetBytes, data.Length, data);
                }

                offsetBytes += doneBytes;
                data = data[(int)doneBytes..];
            }
        }
        finally
        {
            _metadata.Epochs.Exit(ticket);
        }
    }

    private async ValueTask WriteAndFlushAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        if (_metadata.NeedsWriteBack)
        {
            await _writeBack.RunAsync(cancellationToken).ConfigureAwait(false);
        }

        Write(offsetBytes, data.Span);
        if ((flags & WriteFlags.ForceUnitAccess) != 0)
        {
            await _writeBack.RunAsync(cancellationToken).ConfigureAwait(false);
        }
    }
}
