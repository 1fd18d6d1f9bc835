// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Container;
using Fleece.Images.Qcow2.Changing;
using Fleece.Images.Qcow2.Compression;
using Fleece.Images.Qcow2.Headers;
using Fleece.Images.Qcow2.Mapping;

namespace Fleece.Images.Qcow2;

/// <summary>Writes to a qcow2 disk.</summary>
/// <remarks>
/// Threading. Any thread, on the calling thread; only a request that has to write metadata back waits for a running write-back
/// without a thread.
/// <para>Ownership. It owns nothing.</para>
/// </remarks>
/// <param name="dataFile">Where data that is not compressed lies: the image, or its external data file.</param>
/// <param name="metadata">The image's tables.</param>
/// <param name="changes">What changes them.</param>
/// <param name="copy">Writes to clusters with content elsewhere.</param>
/// <param name="compressor">Compresses whole clusters that are new; null to store them as they are.</param>
internal sealed class Qcow2Writer(
    IContainerFile dataFile, Qcow2Metadata metadata, Qcow2Changes changes, ClusterCopy copy, ClusterCompressor? compressor)
{
    private readonly LiveHeader _live = metadata.Header;
    private readonly Epochs _epochs = metadata.Epochs;
    private readonly MappingLookup _lookup = metadata.Lookup;
    private readonly ClusterAllocation _allocation = changes.Allocation;
    private readonly MetadataWriteBack _writeBack = changes.WriteBack;

    /// <inheritdoc cref="IBlockNode.WriteAsync"/>
    public ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        if (_writeBack.IsDue || (flags & WriteFlags.ForceUnitAccess) != 0)
        {
            return WriteAndFlushAsync(offsetBytes, data, flags, cancellationToken);
        }

        Write(offsetBytes, data.Span);
        return default;
    }

    private void Write(long offsetBytes, ReadOnlySpan<byte> data)
    {
        _live.PrepareForChange();
        int ticket = _epochs.Enter();
        try
        {
            while (!data.IsEmpty)
            {
                if (compressor?.Write(offsetBytes, data) is > 0 and int compressedBytes)
                {
                    offsetBytes += compressedBytes;
                    data = data[compressedBytes..];
                    continue;
                }

                MappedRun run = _lookup.Map(offsetBytes, data.Length, isContiguous: true);
                long doneBytes = run.LengthBytes;
                if (run.Kind == ClusterKind.Data && run.IsCopied)
                {
                    dataFile.Write(run.HostOffsetBytes, data[..(int)doneBytes]);
                }
                else if (_allocation.Allocate(offsetBytes, data.Length))
                {
                    continue;
                }
                else
                {
                    doneBytes = copy.Write(offsetBytes, data.Length, data);
                }

                offsetBytes += doneBytes;
                data = data[(int)doneBytes..];
            }
        }
        finally
        {
            _epochs.Exit(ticket);
        }
    }

    private async ValueTask WriteAndFlushAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        if (_writeBack.IsDue)
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
