// SPDX-License-Identifier: MIT
using Fleece.Images.Container;

namespace Fleece.Images.Qcow2.Foundation;

/// <summary>The container as metadata is written to it: the first failing write or flush poisons the image.</summary>
/// <remarks>
/// A failed read or a file that can't grow leaves the metadata as it was, so those poison nothing.
/// <para>Ownership. It does not own the container.</para>
/// </remarks>
internal sealed class MetadataFile(IContainerFile file, Poison poison)
{
    public string Path => file.Path;

    public Poison Poison => poison;

    public long MaximumLengthBytes => file.MaximumLengthBytes;

    public long GetLength() => file.GetLength();

    public void Read(long offsetBytes, Span<byte> buffer) => file.Read(offsetBytes, buffer);

    public void SetLength(long lengthBytes) => file.SetLength(lengthBytes);

    public void Zero(long offsetBytes, long lengthBytes) => file.Zero(offsetBytes, lengthBytes);

    public void Write(long offsetBytes, ReadOnlySpan<byte> data)
    {
        try
        {
            file.Write(offsetBytes, data);
        }
        catch (Exception failure)
        {
            poison.Set(failure);
            throw;
        }
    }

    public void Flush()
    {
        try
        {
            file.Flush();
        }
        catch (Exception failure)
        {
            poison.Set(failure);
            throw;
        }
    }
}
