// SPDX-License-Identifier: MIT
namespace Fleece.Images.Container;

/// <summary>An image with metadata in memory that its file does not need any more.</summary>
internal interface IAbandonable
{
    /// <summary>Drops what has not been stored; closing writes nothing then. No request may run.</summary>
    void Abandon();
}
