// SPDX-License-Identifier: MIT
using System.Security.Cryptography;
using Fleece.Backups.Content;
using Fleece.Block;

namespace Fleece.Backups.Writing;

/// <summary>Digests data on its way into a backup.</summary>
/// <remarks>
/// <para>Neighbours that arrive in order share a digest up to the end of their extent; whatever arrives out of order gets one of its
/// own.</para>
/// <para>Threading. One caller at a time.</para>
/// </remarks>
internal sealed class ExtentDigests : IDisposable
{
    private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private readonly List<ContentExtent> _extents = [];
    private BlockRange _open;

    /// <summary>Takes the next bytes.</summary>
    public void Add(long offsetBytes, ReadOnlySpan<byte> data)
    {
        while (!data.IsEmpty)
        {
            long insideBytes = offsetBytes % ContentExtent.ExtentBytes;
            if (insideBytes == 0 || offsetBytes != _open.EndBytes)
            {
                End();
                _open = new BlockRange(offsetBytes, 0);
            }

            int pieceBytes = (int)Math.Min(data.Length, ContentExtent.ExtentBytes - insideBytes);
            _hash.AppendData(data[..pieceBytes]);
            _open = new BlockRange(_open.OffsetBytes, _open.LengthBytes + pieceBytes);
            data = data[pieceBytes..];
            offsetBytes += pieceBytes;
        }
    }

    /// <summary>What was digested, in the order of its arrival.</summary>
    public IReadOnlyList<ContentExtent> Finish()
    {
        End();
        return _extents;
    }

    public void Dispose() => _hash.Dispose();

    private void End()
    {
        if (!_open.IsEmpty)
        {
            _extents.Add(new ContentExtent(_open, _hash.GetHashAndReset()));
            _open = default;
        }
    }
}
