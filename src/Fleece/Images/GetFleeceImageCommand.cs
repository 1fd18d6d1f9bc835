// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Disks.Storage;
using Fleece.Images;
using Fleece.Nbd;
using Fleece.Nbd.Client;

namespace Fleece;

/// <summary>Get-FleeceImage: what an image is, or an NBD export.</summary>
[Cmdlet(VerbsCommon.Get, "FleeceImage", DefaultParameterSetName = PathSet)]
[OutputType(typeof(ImageInfo), typeof(NbdImageInfo))]
public sealed class GetFleeceImageCommand : ImageCommand
{
    /// <summary>The format, where the content must not decide it; of an export, the format of the image that lies on it.</summary>
    [Parameter(ValueFromPipelineByPropertyName = true)]
    public ImageFormat? Format { get; set; }

    /// <summary>Treat the images as from a stranger: bound the size that they may claim.</summary>
    [Parameter]
    public SwitchParameter Untrusted { get; set; }

    /// <inheritdoc/>
    private protected override void Process(string address)
    {
        UntrustedLimits? limits = Untrusted ? UntrustedLimits.Default : null;
        if (NbdUri.IsUri(address))
        {
            NbdUri uri = NbdUri.Parse(address);
            WriteObject(Format is null or ImageFormat.Raw
                ? Wait(NbdImageInfo.ReadAsync(uri, ClientTls, StopToken))
                : (object)Wait(ExportImages.DescribeAsync(uri, Format.Value, ClientTls, limits, StopToken)));
            return;
        }

        ImageInfo info = Wait(Image.GetInfoAsync(address, Format, StopToken, limits));
        TellRawByName(address, nameof(Format), Format, info.Format);
        WriteObject(info);
    }
}
