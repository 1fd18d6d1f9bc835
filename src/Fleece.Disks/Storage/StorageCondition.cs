// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Disks.Storage;

/// <summary>The first failed flush of a disk's files, the first write to them that the system could not store, the end of a raw image that
/// was cut short, or the broken invariant that poisoned the disk.</summary>
/// <remarks>
/// <para>After it the system may have dropped writes, which are still to be read until the page cache forgets them. So a session may have
/// shown what the storage never got, and its bitmap no longer says where image and backup differ.</para>
/// <para>Threading. All members are safe from any thread. The listener is told once, on the thread of the flush.</para>
/// </remarks>
internal sealed class StorageCondition
{
    private readonly Lock _lock = new();
    private volatile BlockException? _failure;
    private Action<BlockException>? _listener;

    /// <summary>The first failure; null while there was none.</summary>
    public BlockException? Failure => _failure;

    /// <summary>Why no bitmap of the disk can be trusted, as a sentence; null when they can.</summary>
    public string? BitmapFault => _failure is { } failure ? DescribeBitmapFault(failure) : null;

    /// <summary>Why a bitmap that recorded while a flush failed can't be trusted, as a sentence.</summary>
    public static string DescribeBitmapFault(BlockException failure) => failure.RootKind switch
    {
        BlockErrors.InvariantBroken => $"A request failed while it recorded, and nothing says what it did: {failure.Message}",
        BlockErrors.Truncated => $"The image was cut short while it recorded: {failure.Message}",
        _ => $"A flush failed while it recorded, so the storage may have lost writes that a backup has: {failure.Message}",
    };

    /// <summary>Notes a failed flush, a broken invariant on the way of a request, or an image that was cut short.</summary>
    public void Fail(BlockException failure)
    {
        Action<BlockException>? listener;
        lock (_lock)
        {
            if (_failure is not null)
            {
                return;
            }

            _failure = failure;
            listener = _listener;
        }

        listener?.Invoke(failure);
    }

    /// <summary>Tells the one listener of the failure, now if it has happened.</summary>
    public void Listen(Action<BlockException> listener)
    {
        BlockException? failure;
        lock (_lock)
        {
            _listener = listener;
            failure = _failure;
        }

        if (failure is not null)
        {
            listener(failure);
        }
    }
}
